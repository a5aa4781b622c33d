"""`sleuth evaluate` of a translation model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sleuth.cli.console import print_text, tell, write_json
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


def run_evaluate_translation(
    model: str,
    data: str | None,
    split: str | None,
    languages: str | None,
    *,
    beam: int | None,
    length_penalty: float | None,
    limit: int,
    skip_faulty: bool,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Translate a split and print BLEU, chrF and exact match."""
    loaded = open_translator(model)
    if data is None:
        if model != NUMBERS:
            raise UserError("what to measure on is not said", mend="name pairs of sentences with --data")
        data = NUMBERS
    pairs, name = _pairs(data, split, languages, skip_faulty=skip_faulty, limit=limit)
    said: dict[str, Any] = {"beams": beam, "length_penalty": length_penalty}
    try:
        options = replace(loaded.decoding, **{name: value for name, value in said.items() if value is not None})
    except ValueError as error:
        raise UserError(str(error), mend="see `sleuth evaluate --help`") from error
    loaded.model.to(choose_device(device))
    translator = Translator(loaded.model, loaded.source, loaded.target, options)
    evaluation = evaluate_translation(translator, pairs, options, too_long="split")
    if as_json:
        write_json(evaluation.to_json(), "-")
    else:
        print_text(f"{len(pairs):,} pairs of {name}\n")
        print_text(evaluation.render())
    if out is not None:
        written = write_translations(evaluation, out)
        tell(f"written to {out}: {', '.join(path.name for path in written)}")


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
