"""The recipe of a translation model: one TOML file says everything about one run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer import Normalise
from sleuth.tasks.tokenizer_training import TokenizerKind
from sleuth.tasks.translation import TranslationLossConfig
from sleuth.training.optimizer import OptimizerSettings
from sleuth.training.recipe_sections import RecipeSections, own_keys, section_tables, take_own
from sleuth.training.run_settings import RunSettings
from sleuth.training.schedule import ScheduleSettings
from sleuth.training.sections import Table, check_keys, fill, toml_text
from sleuth.weights.translators import open_translator

FAMILY = "seq2seq"

NUMBERS = "numbers"
"""As ``data.path``, the built-in data: numbers in digits, English and Chinese."""

_FROM_DATA = ("source_vocab", "target_vocab", "pad_id", "bos_id", "eos_id", "banned_ids")
"""Numbers of a model that come from its vocabularies."""

_CONSTANT = ("task",)
"""What a recipe holds beside its sections."""


@dataclass(frozen=True)
class TranslationModelSettings:
    """The ``[model]`` of a translation recipe: a size by name, or a model to start from, and changes to its numbers.

    Args:
        name: a size, such as ``transformer-small``.
        family: what kind of model; it follows from the name, and a resolved recipe says it.
        weights: the model to start from, with its vocabularies; empty starts from fresh weights.
        freeze: parts that are not trained, such as ``encoder``.
        config: the numbers; those of the vocabularies come from the data.
    """

    name: str = "transformer-small"
    family: str = FAMILY
    weights: str = ""
    freeze: tuple[str, ...] = ()
    config: Seq2SeqConfig = field(default_factory=Seq2SeqConfig)


@dataclass(frozen=True)
class TextDataSettings:
    """The ``[data]`` of a translation recipe.

    Args:
        path: a folder or file with pairs of sentences, or ``numbers`` for the built-in data.
        languages: from which to which, such as ``en-de``; empty where there is only one way.
        train: the split to train on.
        val: the split that scores are measured on; empty measures none.
        train_limit: train on the first so many pairs only; 0 takes all (of numbers, 100,000 make an epoch).
        val_limit: measure on the first so many pairs only; 0 takes all (1,000 numbers).
        max_tokens: leave out pairs of which a side has more tokens.
        max_ratio: leave out pairs of which one side has so many times the tokens of the other; 0 leaves out none.
        skip_faulty: leave out lines that cannot be read rather than stop at them.
        most_digits: of the numbers, at most.
    """

    path: str
    languages: str = ""
    train: str = "train"
    val: str = "val"
    train_limit: int = 0
    val_limit: int = 0
    max_tokens: int = 128
    max_ratio: float = 0.0
    skip_faulty: bool = False
    most_digits: int = 9

    def __post_init__(self) -> None:
        if min(self.train_limit, self.val_limit, self.max_ratio) < 0:
            raise ValueError("limits must not be negative")
        if self.max_tokens < 2:
            raise ValueError("max_tokens must be at least 2")


@dataclass(frozen=True)
class TokenizerSettings:
    """The ``[tokenizer]`` of a translation recipe: how vocabularies are made from the training text, or which to take.

    Args:
        kind: bpe, unigram, words or characters.
        vocabulary_size: most tokens, of each vocabulary.
        joint: one vocabulary for both languages.
        normalise: what is done to Unicode first: none, nfc or nfkc.
        min_count: drop merges, words and characters that are rarer.
        byte_fallback: spell characters that have no token as bytes.
        path: a tokenizer to take instead: tokenizer.json, a sentencepiece model, or a folder with one of them.
        target_path: that of the target, where it is another.
    """

    kind: TokenizerKind = "bpe"
    vocabulary_size: int = 8000
    joint: bool = True
    normalise: Normalise = "nfc"
    min_count: int = 1
    byte_fallback: bool = False
    path: str = ""
    target_path: str = ""


@dataclass(frozen=True)
class TranslationRecipe:
    """One run as values: each attribute is a section of the file."""

    model: TranslationModelSettings
    data: TextDataSettings
    tokenizer: TokenizerSettings
    loss: TranslationLossConfig
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    run: RunSettings
    decoding: DecodingOptions
    task: Literal["translation"] = "translation"

    def tables(self) -> dict[str, Table]:
        """The resolved recipe as plain tables, every key written out."""
        tables = section_tables(self, _CONSTANT)
        config = {key: value for key, value in tables["model"].pop("config").items() if key not in _FROM_DATA}
        model = tables["model"] | {key: value for key, value in config.items() if value is not None}
        decoding = {key: value for key, value in tables["decoding"].items() if value is not None}
        return tables | {"model": model, "decoding": decoding}

    def text(self) -> str:
        """The resolved recipe as TOML; reading it gives the same recipe."""
        return toml_text(self.tables())


_USUAL: Mapping[str, Table] = {
    "optimizer": {
        "betas": [0.9, 0.98],
        "eps": 1e-9,
        "weight_decay": 0.0,
        "clip": 1.0,
        "rate": 1e-3,
        "batch_size": 4096,
    },
    "run": {"score": "BLEU", "channels_last": False},
}
"""What differs from the defaults of detectors."""


def translation_recipe(tables: Mapping[str, Any], *, where: object) -> TranslationRecipe:
    """A translation recipe from its tables, each checked against the settings that it fills.

    Raises:
        UserError: an unknown key or section (named with the nearest), or a wrong value.
    """
    given = RecipeSections(tables, TranslationRecipe, where=where, usual=_USUAL, constant=_CONSTANT)
    recipe = TranslationRecipe(
        model=_model(given.table("model"), where),
        data=given.fill(TextDataSettings, "data"),
        tokenizer=given.fill(TokenizerSettings, "tokenizer"),
        loss=given.fill(TranslationLossConfig, "loss"),
        optimizer=given.fill(OptimizerSettings, "optimizer"),
        schedule=given.fill(ScheduleSettings, "schedule"),
        run=given.fill(RunSettings, "run"),
        decoding=given.fill(DecodingOptions, "decoding"),
    )
    if not recipe.optimizer.batch_size:
        raise UserError("optimizer.batch_size = 0: a pass of text is so many tokens", where=where, mend="such as 4096")
    if recipe.run.close_augmentation:
        raise UserError("text has no augmentation to close", where=where, mend="leave run.close_augmentation out")
    if recipe.data.max_tokens > recipe.model.config.max_positions:
        raise UserError(
            f"data.max_tokens = {recipe.data.max_tokens} is more than model.max_positions = "
            f"{recipe.model.config.max_positions}",
            where=where,
            mend="lower the one or raise the other",
        )
    return recipe


def _model(table: Table, where: object) -> TranslationModelSettings:
    own = take_own(table, TranslationModelSettings)
    settings = fill(TranslationModelSettings, own, section="model", where=where)
    for name in _FROM_DATA:
        if name in table:
            raise UserError(f"model.{name} is not set in a recipe", where=where, mend="it comes from the vocabularies")
    if settings.weights and "name" not in own:
        base = open_translator(settings.weights).model.config
        settings = dataclasses.replace(settings, name="")
    elif settings.name:
        check_keys([settings.name], SEQ2SEQ_VARIANTS, what="model", where=where)
        base = SEQ2SEQ_VARIANTS[settings.name]
    else:
        base = Seq2SeqConfig()
    valid = [key for key in (each.name for each in dataclasses.fields(Seq2SeqConfig)) if key not in _FROM_DATA]
    check_keys(table, [*valid, *own_keys(TranslationModelSettings)], what="key in [model]", where=where)
    config = fill(Seq2SeqConfig, dataclasses.asdict(base) | table, section="model", where=where)
    return dataclasses.replace(settings, config=config)
