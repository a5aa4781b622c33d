"""One word after another: the best, or one drawn. Sentences that have ended leave the batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.language import closing_ranks
from sleuth.nn.shortlist import Shortlist
from sleuth.tasks.decoding.encoding import encode_sources
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.rules import Rules
from sleuth.tasks.decoding.sampling import Choose
from sleuth.tasks.decoding.sources import Sources
from sleuth.tasks.decoding.steps import Steps
from sleuth.tasks.decoding.top import top_words


@dataclass
class _Line:
    """A sentence on its way."""

    sentence: int
    limit: int
    ids: list[int] = field(default_factory=list)
    word_scores: list[float] = field(default_factory=list)

    def take(self, word: int, score: float | None) -> None:
        self.ids.append(word)
        if score is not None:
            self.word_scores.append(score)


@dataclass(frozen=True)
class Word:
    """A word that was just written.

    Args:
        sentence: number of its sentence in the batch.
        id: the word; EOS at the end.
        score: its log-probability, if asked for.
        last: the sentence ends with it.
    """

    sentence: int
    id: int
    score: float | None
    last: bool


def best_word(scores: Tensor, sentences: Sequence[int]) -> Tensor:
    """The most likely word of each row."""
    return top_words(scores, 1)[1][:, 0]


def write(
    model: Seq2Seq,
    sources: Sources,
    options: DecodingOptions,
    choose: Choose = best_word,
    shortlist: Shortlist | None = None,
    steps: Steps | None = None,
) -> Iterator[Word]:
    """Write the translations of a batch, a word of each sentence at a time.

    Args:
        model: in evaluation mode.
        sources: the batch.
        options: limits and rules; how to choose is not read from it.
        choose: from scores to words.
        shortlist: finds the best words without the scores of all, where nothing asks for these.
        steps: takes the model's steps in its stead.
    """
    steps = model if steps is None else steps
    rules = Rules(model.config.banned_ids, model.config.eos_id, options)
    with torch.no_grad():
        cache = model.start(encode_sources(model, sources))
    history, new = sources.prefixes, sources.prefixes
    sentences, limits = list(range(len(history))), list(sources.limits)
    if choose is not best_word or options.word_scores or rules.penalise:
        shortlist = None
    added = 0
    while sentences:
        given: Sequence[float | None] = [None] * len(sentences)
        if shortlist is not None:
            words = shortlist.best(steps.advance(new, cache), rules.left_out(added))
            if options.force_eos:
                words[[limit == added + 1 for limit in limits]] = model.config.eos_id
        else:
            scores = steps.step(new, cache).float()
            log_totals = scores.logsumexp(1) if options.word_scores else None
            # What rules change is what a word costs; its log-probability is the model's own.
            raw = scores.clone() if options.word_scores and rules.edit else scores
            rules(scores, history, added, limits)
            words = choose(scores, [sources.numbers[sentence] for sentence in sentences])
            if log_totals is not None:
                given = (raw.gather(1, words[:, None])[:, 0] - log_totals).tolist()
        added += 1
        leaves = []
        for sentence, limit, word, score in zip(sentences, limits, words.tolist(), given, strict=True):
            leaves.append(word == model.config.eos_id or added == limit)
            yield Word(sentence, word, score, leaves[-1])
        history, new = torch.cat((history, words[:, None]), 1), words[:, None]
        if any(leaves):
            order = closing_ranks(leaves)
            cache.keep(order)
            history, new = history[order], new[order]
            sentences, limits = [sentences[i] for i in order], [limits[i] for i in order]


def search(
    model: Seq2Seq,
    sources: Sources,
    options: DecodingOptions,
    choose: Choose = best_word,
    shortlist: Shortlist | None = None,
    steps: Steps | None = None,
) -> list[list[Hypothesis]]:
    """Translate a batch by greedy search, or by drawing words: one translation of each sentence."""
    prefix = [tuple(row) for row in sources.prefixes[:, 1:].tolist()]
    lines = [_Line(sentence, limit) for sentence, limit in enumerate(sources.limits)]
    for word in write(model, sources, options, choose, shortlist, steps):
        lines[word.sentence].take(word.id, word.score)
    return [[_hypothesis(line, prefix[line.sentence], model.config.eos_id, options)] for line in lines]


def _hypothesis(line: _Line, prefix: tuple[int, ...], eos: int, options: DecodingOptions) -> Hypothesis:
    finished = line.ids[-1] == eos
    return Hypothesis(
        ids=prefix + tuple(line.ids[:-1] if finished else line.ids),
        score=sum(line.word_scores) if options.word_scores else None,
        finished=finished,
        word_scores=tuple(line.word_scores) if options.word_scores else None,
    )
