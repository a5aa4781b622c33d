"""`sleuth evaluate` of a translation model."""

from dataclasses import replace
from typing import Any

from sleuth.cli.evaluate_words import OF_CLASSES, OF_OBJECTS, OF_PIXELS, EvaluateWords, refuse, show, tell_written
from sleuth.data.text.numbers import NumberPairs
from sleuth.data.text.open import open_text, parse_languages, text_splits
from sleuth.data.text.samples import TextSource
from sleuth.errors import UserError
from sleuth.evaluation.translation import evaluate_translation, write_translations
from sleuth.runtime.devices import choose_device
from sleuth.tasks.translator import Translator
from sleuth.training.translation_recipe import NUMBERS
from sleuth.weights.translators import open_translator

HELD_OUT_NUMBERS = 2000


def evaluate_translator(words: EvaluateWords) -> None:
    """Translate a split and print BLEU, chrF and exact match."""
    useless = (*OF_OBJECTS, *OF_PIXELS, *OF_CLASSES)
    refuse(words, useless, "of a model that finds objects, and this one translates")
    assert words.model is not None
    model, data = words.model, words.data
    loaded = open_translator(model)
    if data is None:
        if model != NUMBERS:
            raise UserError("what to measure on is not said", mend="name pairs of sentences with --data")
        data = NUMBERS
    pairs, name = _pairs(data, words.split, words.languages, skip_faulty=words.skip_faulty, limit=words.limit)
    said: dict[str, Any] = {"beams": words.beam, "length_penalty": words.length_penalty}
    try:
        options = replace(loaded.decoding, **{name: value for name, value in said.items() if value is not None})
    except ValueError as error:
        raise UserError(str(error), mend="see `sleuth evaluate --help`") from error
    loaded.model.to(choose_device(words.device))
    translator = Translator(loaded.model, loaded.source, loaded.target, options)
    evaluation = evaluate_translation(translator, pairs, options, too_long="split")
    show(evaluation, f"{len(pairs):,} pairs of {name}\n\n{evaluation.render()}", as_json=words.json)
    if words.out is not None:
        tell_written(words.out, write_translations(evaluation, words.out))


def _pairs(
    data: str, split: str | None, languages: str | None, *, skip_faulty: bool, limit: int
) -> tuple[TextSource, str]:
    if data == NUMBERS:
        if split not in (None, "train", "val", "test"):
            raise UserError(f"numbers have no split {split!r}", where="--split", mend="train, val or test")
        count = limit or HELD_OUT_NUMBERS
        return NumberPairs(split=split or "test", seed=2, count=count), f"numbers, {split or 'test'}"  # type: ignore[arg-type]
    if split is None:
        known = text_splits(data)
        wanted = [name for name in known if name.startswith(("val", "dev", "valid"))]
        split = known[0] if len(known) == 1 else next(iter(wanted), None)
    pairs = open_text(data, split, parse_languages(languages) if languages else None, skip_faulty=skip_faulty)
    return pairs.first(limit), f"{data}, {split}"
