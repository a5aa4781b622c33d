"""From sentences to translations, both as word numbers: in batches of like length, and back in order."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding import beam, greedy
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.prepared import Prepared, prepare, unprepared
from sleuth.tasks.decoding.sampling import sampler
from sleuth.tasks.decoding.sources import Ids, batches, check_sentences

_ROWS_WORTH_COPIES = 256


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each part back in the mode that it was in."""
    learning = [module for module in model.modules() if module.training]
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True


def translate_ids(
    model: Seq2Seq,
    sentences: Sequence[Ids],
    options: DecodingOptions | None = None,
    *,
    prefixes: Sequence[Ids] | None = None,
    max_sentences: int = 64,
    max_tokens: int = 4096,
    prepared: Prepared | None = None,
) -> list[list[Hypothesis]]:
    """Translate sentences; for each the ``n_best`` translations, best first.

    A sentence's translations do not depend on the other sentences, nor on the sizes of batches.

    Args:
        model: on any device.
        sentences: source words, with whatever the model was trained to see at their end (EOS). An empty sentence has an
            empty translation.
        options: how to decode; greedy search if None.
        prefixes: the words that each translation must begin with, without BOS.
        max_sentences: the most sentences of a batch.
        max_tokens: the most source tokens of a batch, padding included.
        prepared: from `prepare`, for a model that is to translate many times; None makes them for large jobs.

    Raises:
        UserError: a sentence or prefix is longer than the model's positions, or has words that the model has not.
    """
    found: list[list[Hypothesis]] = [[] for _ in sentences]
    for number, hypotheses in iterate_translations(
        model,
        sentences,
        options,
        prefixes=prefixes,
        max_sentences=max_sentences,
        max_tokens=max_tokens,
        prepared=prepared,
    ):
        found[number] = hypotheses
    return found


def iterate_translations(
    model: Seq2Seq,
    sentences: Sequence[Ids],
    options: DecodingOptions | None = None,
    *,
    prefixes: Sequence[Ids] | None = None,
    max_sentences: int = 64,
    max_tokens: int = 4096,
    prepared: Prepared | None = None,
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """As `translate_ids`, but sentence numbers and translations as batches are done: for showing progress."""
    options = DecodingOptions() if options is None else options
    prefixes = [()] * len(sentences) if prefixes is None else prefixes
    check_sentences(sentences, prefixes, model.config)
    for number, sentence in enumerate(sentences):
        if not sentence:
            nothing = Hypothesis(ids=(), score=0.0, finished=True, word_scores=() if options.word_scores else None)
            yield number, [nothing]
    copies = options.n_best if options.sample else 1
    every = [sentence for sentence in sentences for _ in range(copies)]
    every_prefix = [prefix for prefix in prefixes for _ in range(copies)]
    device = model.target_embedding.table.weight.device
    if prepared is None:
        prepared = prepare(model) if len(every) * options.beams >= _ROWS_WORTH_COPIES else unprepared()
    waiting: dict[int, list[tuple[int, Hypothesis]]] = {}
    for sources in batches(
        every,
        every_prefix,
        options,
        model.config,
        max_sentences=max(1, max_sentences),
        max_tokens=max_tokens,
        device=device,
    ):
        with evaluating(model), prepared.in_use(), torch.inference_mode():
            if options.sample:
                results = greedy.search(model, sources, options, sampler(options), steps=prepared.steps)
            elif options.beams == 1:
                results = greedy.search(model, sources, options, shortlist=prepared.shortlist, steps=prepared.steps)
            else:
                results = beam.search(model, sources, options, prepared.steps)
        for place, hypotheses in zip(sources.numbers, results, strict=True):
            number, copy = divmod(place, copies)
            if copies == 1:
                yield number, hypotheses
                continue
            waiting.setdefault(number, []).append((copy, hypotheses[0]))
            if len(waiting[number]) == copies:
                yield number, _in_order(waiting.pop(number))


def _in_order(drawn: list[tuple[int, Hypothesis]]) -> list[Hypothesis]:
    """Samples, the most likely first where scores were asked for, else as they were drawn."""
    drawn.sort(key=lambda pair: (-(pair[1].score or 0.0), pair[0]))
    return [hypothesis for _, hypothesis in drawn]
