"""A translation as it is written, word by word."""

from collections.abc import Iterator

from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.greedy import Word, best_word, write
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.decoding.sampling import sampler
from sleuth.tasks.decoding.sources import Ids, batches, check_sentences
from sleuth.tasks.decoding.translate import evaluating


def stream_ids(
    model: Seq2Seq, sentence: Ids, options: DecodingOptions | None = None, *, prefix: Ids = ()
) -> Iterator[Word]:
    """Translate one sentence, giving each word as soon as it is chosen, EOS last.

    The words are those of `translate_ids` with the same options. Whoever has read enough closes the generator.

    Args:
        model: its mode is evaluation while a word is awaited, and its own between words.
        sentence: source words.
        options: greedy search or sampling; beam search knows its words only at the end.
        prefix: the words that the translation must begin with, without BOS; they are not given again.

    Raises:
        ValueError: the options ask for beam search or for several translations.
        UserError: as for `translate_ids`.
    """
    options = DecodingOptions() if options is None else options
    if options.beams > 1 or options.n_best > 1:
        raise ValueError("one translation is written at a time: streaming goes with beams = 1 and n_best = 1")
    check_sentences([sentence], [prefix], model.config)
    return _stream(model, sentence, options, prefix)


def _stream(model: Seq2Seq, sentence: Ids, options: DecodingOptions, prefix: Ids) -> Iterator[Word]:
    device = model.target_embedding.table.weight.device
    choose = sampler(options) if options.sample else best_word
    for sources in batches(
        [sentence], [prefix], options, model.config, max_sentences=1, max_tokens=len(sentence), device=device
    ):
        words = write(model, sources, options, choose)
        while True:
            with evaluating(model):
                word = next(words, None)
            if word is None:
                return
            yield word
