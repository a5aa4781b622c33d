"""`sleuth train` of a translation model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from sleuth.cli.splits import splits
from sleuth.cli.train_run import run_and_tell
from sleuth.cli.train_words import (
    TrainWords,
    check_scratch,
    refuse,
    section,
    set_last,
    set_model,
    set_values,
    what_is_taken,
)
from sleuth.data.text.open import is_text, open_text, parse_languages, text_splits
from sleuth.data.text.samples import TextSource
from sleuth.evaluation.translation import evaluate_translation
from sleuth.files import atomic_write
from sleuth.models.seq2seq import Seq2Seq
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.tasks.translator import Translator
from sleuth.training.run_folder import RunFolder
from sleuth.training.sections import Table
from sleuth.training.translation_recipe import NUMBERS, TranslationRecipe, translation_recipe
from sleuth.training.translation_work import TranslationWork, Vocabularies, open_text_source
from sleuth.weights.translators import is_translator

SAMPLE_LINES = 10
SMALL_DATA = 200_000
"""Pairs up to which the smaller size learns more."""

_USELESS = ("scale", "format", "images", "tile", "annotations", "lora", "tile_overlap")
"""Words that text has no use for."""


def wants_translation(words: TrainWords) -> bool:
    """Whether the words of the command line speak of text."""
    if words.model is not None and (words.model in SEQ2SEQ_VARIANTS or is_translator(words.model)):
        return True
    return words.data is not None and (words.data == NUMBERS or (Path(words.data).exists() and is_text(words.data)))


def tables_for_text(words: TrainWords, say: Callable[[str], object]) -> Table:
    """A recipe for somebody's pairs of sentences.

    Raises:
        UserError: there are none.
    """
    assert words.data is not None
    numbers = words.data == NUMBERS
    data: Table = {"path": words.data} | ({"languages": words.languages} if words.languages else {})
    if not numbers:
        data |= splits(text_splits(words.data))
        languages = parse_languages(words.languages) if words.languages else None
        pairs = len(open_text(words.data, data["train"], languages, skip_faulty=words.skip_faulty))
    else:
        pairs = 100_000
    small = pairs <= SMALL_DATA
    epochs = 30 if small else 10
    run: Table = {"epochs": epochs, "evaluate_every": 1 if data.get("val", "val") else 0, "ema_decay": 0.999}
    name = "transformer-small" if small else "transformer-base"
    tables: Table = {
        "model": ({} if words.weights else {"name": name}) | ({"dropout": 0.3} if small else {}),
        "data": data,
        "tokenizer": {"kind": "bpe", "vocabulary_size": 8000 if small else 32000},
        "optimizer": {"rate": 1e-3 if small else 7e-4, "batch_size": 4096},
        "schedule": {"kind": "inverse_sqrt", "warmup_steps": min(4000, max(100, pairs // 20))},
        "run": run | {"log_every": 50, "workers": 0},
        "decoding": {"beams": 1},
    }
    say(what_is_taken(words.weights or words.model or name, tables, words, f"{pairs:,} pairs", " tokens"))
    return tables


def with_text_words(tables: Table, words: TrainWords) -> Table:
    """The tables of a recipe with what the command line said instead; ``--set`` has the last word.

    Raises:
        UserError: words that text has no use for, or that contradict each other.
    """
    refuse(words, _USELESS, "is of pictures, and text is trained on here")
    check_scratch(words, SEQ2SEQ_VARIANTS)
    set_model(section(tables, "model"), words, lambda name: name not in SEQ2SEQ_VARIANTS)
    set_values(tables, words, ("data", "languages", words.languages))
    set_last(tables, words)
    return tables


def train_translation(
    tables: Table, words: TrainWords, folder: RunFolder, *, where: object, resume: bool, remarks: Sequence[str]
) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end."""
    recipe = translation_recipe(with_text_words(tables, words), where=where)
    data = recipe.data
    work = TranslationWork(recipe)
    held_out = open_text_source(recipe, data.val) if data.val else None
    languages = f" --languages {data.languages}" if data.languages else ""
    return run_and_tell(
        work,
        folder,
        evaluate=None if held_out is None else evaluator(recipe, work.vocabularies, held_out),
        render=sampler(recipe, work.vocabularies, held_out or work.source),
        resume=resume,
        measure=f"evaluate --model {folder.best} --data {data.path}{languages} --split {data.val} --beam 5",
        remarks=remarks,
        use=f"translate FILE --model {folder.best}",
    )


def evaluator(
    recipe: TranslationRecipe, vocabularies: Vocabularies, source: TextSource
) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a model on these pairs."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Seq2Seq)
        translator = Translator(model, vocabularies.source, vocabularies.target, recipe.decoding)
        return evaluate_translation(translator, source, recipe.decoding, too_long="split").numbers

    return evaluate


def sampler(
    recipe: TranslationRecipe, vocabularies: Vocabularies, source: TextSource
) -> Callable[[nn.Module, Path, int], None]:
    """Writes what a model makes of the first few of these pairs."""

    def write(model: nn.Module, folder: Path, step: int) -> None:
        assert isinstance(model, Seq2Seq)
        samples = [source.load(index) for index in range(min(SAMPLE_LINES, len(source)))]
        translator = Translator(model, vocabularies.source, vocabularies.target, replace(recipe.decoding, n_best=1))
        found = translator.translate([sample.source for sample in samples], too_long="split")
        with atomic_write(folder / f"step-{step:06d}.jsonl") as temporary:
            temporary.write_text(
                "".join(
                    json.dumps(
                        {"source": sample.source, "reference": sample.target, "translation": each[0].text},
                        ensure_ascii=False,
                    )
                    + "\n"
                    for sample, each in zip(samples, found, strict=True)
                ),
                encoding="utf-8",
            )

    return write
