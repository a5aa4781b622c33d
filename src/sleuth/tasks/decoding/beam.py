"""Beam search: the best few beginnings of each sentence go on together; those that end are ranked by length penalty.

A step looks at the ``2 * beams`` best continuations of a sentence, so that ``beams`` go on whatever ends. One that ends
counts if it is among the best ``beams``. These, and when to stop, are Hugging Face's rules.

Source: Wu et al. 2016, section 7; Graves 2012, "Sequence transduction with recurrent neural networks", section 2.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.language import closing_ranks
from sleuth.tasks.decoding.encoding import encode_sources
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.rules import Rules
from sleuth.tasks.decoding.sources import Sources
from sleuth.tasks.decoding.steps import Steps
from sleuth.tasks.decoding.top import normalise_, top_words

_DEAD = float("-inf")


@dataclass(order=True)
class _Ended:
    """A hypothesis that has ended, ranked by score."""

    score: float
    ids: list[int] = field(compare=False)
    word_scores: list[float] = field(compare=False)
    finished: bool = field(compare=False)


@dataclass
class Ended:
    """The best hypotheses of a sentence that have ended.

    Args:
        sentence: number in the batch.
        limit: the most words that may be added.
        options: number of beams, penalty and when to stop.
    """

    sentence: int
    limit: int
    options: DecodingOptions
    best: list[_Ended] = field(default_factory=list)

    def add(self, log_prob: float, ids: list[int], word_scores: list[float], finished: bool) -> None:
        """Keep a hypothesis if it is among the best."""
        score = self.options.normalised(log_prob, len(word_scores))
        self.best.append(_Ended(score, ids, word_scores, finished))
        self.best.sort(reverse=True)
        del self.best[self.options.beams :]

    def is_over(self, best_running: float, length: int) -> bool:
        """Whether no running hypothesis is to enter any more.

        Args:
            best_running: log-probability of the best running hypothesis.
            length: words added so far.
        """
        if length >= self.limit or best_running == _DEAD:
            return True
        if len(self.best) < self.options.beams:
            return False
        if self.options.early_stopping is True:
            return True
        grows = self.options.early_stopping == "never" and self.options.length_penalty > 0
        return self.options.normalised(best_running, self.limit if grows else length) <= self.best[-1].score

    def hypotheses(self, prefix: tuple[int, ...]) -> list[Hypothesis]:
        """The best, as many as were asked for."""
        return [
            Hypothesis(
                ids=prefix + tuple(ended.ids),
                score=ended.score,
                finished=ended.finished,
                word_scores=tuple(ended.word_scores) if self.options.word_scores else None,
            )
            for ended in self.best[: self.options.n_best]
        ]


@dataclass
class _Running:
    """The beginnings that go on: ``beams`` of each sentence, in no order.

    Args:
        history: words of each row, BOS and prefix included.
        totals: log-probability of each.
        word_scores: log-probability of each added word.
    """

    history: Int[Tensor, "rows words"]
    totals: Float[Tensor, "sentences beams"]
    word_scores: Float[Tensor, "rows added"]

    def keep(self, order: Sequence[int]) -> None:
        beams = self.totals.shape[1]
        rows = [sentence * beams + i for sentence in order for i in range(beams)]
        self.history, self.word_scores = self.history[rows], self.word_scores[rows]
        self.totals = self.totals[list(order)]


@dataclass(frozen=True)
class _Candidates:
    """The best continuations of each sentence, best first; impossible ones have a total of minus infinity."""

    totals: Float[Tensor, "sentences candidates"]
    words: Int[Tensor, "sentences candidates"]
    parents: Int[Tensor, "sentences candidates"]
    word_scores: Float[Tensor, "sentences candidates"]


def _continuations(log_probs: Tensor, running: _Running, count: int, filler: int) -> _Candidates:
    """The ``count`` best of all continuations of a sentence's rows.

    Where there are fewer, as with tiny vocabularies, impossible ones with the word ``filler`` make up the number.
    """
    sentences, beams = running.totals.shape
    each = min(count, log_probs.shape[1])
    best, words = top_words(log_probs, each)
    totals = (best.view(sentences, beams, each) + running.totals[:, :, None]).flatten(1)
    words, best = words.view(sentences, -1), best.view(sentences, -1)
    missing = (0, max(0, count - totals.shape[1]))
    totals, best = (F.pad(x, missing, value=_DEAD) for x in (totals, best))
    words = F.pad(words, missing, value=filler)
    top = totals.topk(count, dim=1)
    places = top.indices
    parents = torch.div(places, each, rounding_mode="floor").clamp(max=beams - 1)
    return _Candidates(top.values, words.gather(1, places), parents, best.gather(1, places))


def _seats(parents: list[int], beams: int) -> list[int]:
    """Which row each continuation takes: its parent's if it is the first to come, else one that no child claims.

    So only those that share a parent have their cache copied.

    >>> _seats([2, 2, 0, 2], 4)
    [2, 1, 0, 3]
    """
    free = [row for row in range(beams) if row not in parents]
    claimed: set[int] = set()
    seats = []
    for parent in parents:
        seats.append(free.pop(0) if parent in claimed else parent)
        claimed.add(parent)
    return seats


def search(
    model: Seq2Seq, sources: Sources, options: DecodingOptions, steps: Steps | None = None
) -> list[list[Hypothesis]]:
    """Translate a batch by beam search: the best ``n_best`` translations of each sentence, best first.

    Args:
        model: in evaluation mode.
        sources: the batch.
        options: how to search.
        steps: takes the model's steps in its stead.
    """
    steps = model if steps is None else steps
    eos, beams = model.config.eos_id, options.beams
    rules = Rules(model.config.banned_ids, eos, options)
    cache = model.start(encode_sources(model, sources))
    batch, forced = sources.prefixes.shape
    totals = torch.zeros(batch, 1, device=sources.ids.device)
    running = _Running(sources.prefixes, totals, totals[:, :0])
    ended = [Ended(sentence, limit, options) for sentence, limit in enumerate(sources.limits)]
    active, new, added = list(ended), sources.prefixes, 0
    filler = 0 if eos else 1
    while active:
        log_probs = normalise_(steps.step(new, cache).float())
        limits = [one.limit for one in active for _ in range(running.totals.shape[1])]
        rules(log_probs, running.history, added, limits)
        if options.renormalise:
            log_probs = log_probs.log_softmax(1)
        found = _continuations(log_probs, running, 2 * beams, filler)
        added += 1
        goes_on = _harvest(found, running, active, eos, beams, forced, added)
        moved = _advance(running, found, goes_on, beams)
        if cache.beams < beams:
            cache.split(beams)  # at first a sentence has one row; all its continuations are that row's children
        else:
            cache.copy_rows(*moved)
        leaves = [one.is_over(max(row), added) for one, row in zip(active, running.totals.tolist(), strict=True)]
        if any(leaves):
            order = closing_ranks(leaves)
            cache.keep(order)
            running.keep(order)
            active = [active[i] for i in order]
        new = running.history[:, -1:]
    prefix = [tuple(row) for row in sources.prefixes[:, 1:].tolist()]
    return [one.hypotheses(prefix[one.sentence]) for one in ended]


def _harvest(
    found: _Candidates, running: _Running, active: list[Ended], eos: int, beams: int, forced: int, added: int
) -> list[list[int]]:
    """Take in the continuations that end here; those that go on are returned for each sentence, ``beams`` of them."""
    before = running.totals.shape[1]
    goes_on = []
    words, totals, parents = found.words.tolist(), found.totals.tolist(), found.parents.tolist()
    scores = found.word_scores.tolist()
    for i, one in enumerate(active):
        at_limit = added >= one.limit
        for rank in range(beams):
            word, total = words[i][rank], totals[i][rank]
            if total == _DEAD or not (word == eos or at_limit):
                continue
            row = i * before + parents[i][rank]
            ids = running.history[row, forced:].tolist()
            one.add(
                total,
                ids if word == eos else [*ids, word],
                [*running.word_scores[row].tolist(), scores[i][rank]],
                finished=word == eos,
            )
        goes_on.append([rank for rank, word in enumerate(words[i]) if word != eos][:beams])
    return goes_on


def _advance(
    running: _Running, found: _Candidates, goes_on: list[list[int]], beams: int
) -> tuple[list[int], list[int]]:
    """Let the chosen continuations take their rows; returns which rows of the cache to copy, and where to."""
    before = running.totals.shape[1]
    parents = found.parents.tolist()
    ranks, rows, source, target = [], [], [], []
    for i, chosen in enumerate(goes_on):
        theirs = [parents[i][rank] for rank in chosen]
        seats = _seats(theirs, beams) if before == beams else list(range(beams))
        by_seat = sorted(range(beams), key=seats.__getitem__)
        ranks.append([chosen[k] for k in by_seat])
        for k in by_seat:
            rows.append(i * before + theirs[k])
            if before == beams and seats[k] != theirs[k]:
                source.append(rows[-1])
                target.append(i * beams + seats[k])
    picked = torch.tensor(ranks, device=found.words.device)
    words = found.words.gather(1, picked).view(-1, 1)
    scores = found.word_scores.gather(1, picked).view(-1, 1)
    running.history = torch.cat((running.history[rows], words), 1)
    running.word_scores = torch.cat((running.word_scores[rows], scores), 1)
    running.totals = found.totals.gather(1, picked)
    return source, target
