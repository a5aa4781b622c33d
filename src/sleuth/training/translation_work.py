"""Translation models as work for the training function: pairs of sentences in, losses of words out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.data.text.numbers import PREFIXES, NumberPairs
from sleuth.data.text.open import open_text, parse_languages
from sleuth.data.text.samples import TextPairs, TextSource
from sleuth.data.text.stream import TextStream
from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.tasks.translation import TranslationLoss
from sleuth.training.parts import freeze
from sleuth.training.sections import check_keys
from sleuth.training.translation_recipe import NUMBERS, TokenizerSettings, TranslationRecipe, translation_recipe
from sleuth.training.work import Autocast, BatchLoss
from sleuth.types.text import TextBatch, TokenPrediction
from sleuth.weights.translator import LoadedTranslator, save_translator, translator_card
from sleuth.weights.translators import open_translator

_NUMBERS_IN_EPOCH = 100_000
_NUMBERS_TO_MEASURE = 1_000
_NUMBERS_FOR_VOCABULARY = 20_000


@dataclass(frozen=True)
class Vocabularies:
    """What cuts sentences into tokens.

    Args:
        source: of the source language.
        target: of the target language; the same object where both share one.
    """

    source: Tokenizer
    target: Tokenizer


class TranslationWork:
    """A translation model to train; see `Work`.

    Args:
        recipe: the run.
        source: pairs to train on; by default those that the recipe names.
        vocabularies: by default made from the pairs, or those that the recipe names.
    """

    counted = "tokens"

    def __init__(
        self, recipe: TranslationRecipe, source: TextSource | None = None, vocabularies: Vocabularies | None = None
    ) -> None:
        self.recipe = recipe
        self.source = open_text_source(recipe, recipe.data.train) if source is None else source
        start = open_translator(recipe.model.weights) if recipe.model.weights else None
        if vocabularies is None:
            vocabularies = (
                Vocabularies(start.source, start.target)
                if start is not None
                else make_vocabularies(recipe.tokenizer, self.source)
            )
        self.vocabularies, self.start = vocabularies, start
        self.config = config_for(recipe, vocabularies)
        self.criterion = TranslationLoss(recipe.loss)

    def examine(self) -> list[str]:
        """Say how much there is to learn, and what is left out."""
        source, target = self.vocabularies.source, self.vocabularies.target
        sizes = f"{len(source):,}" if source is target else f"{len(source):,} and {len(target):,}"
        return [f"{len(self.source):,} pairs of sentences, vocabulary of {sizes} tokens"]

    def reread(self, tables: Mapping[str, Any], where: object) -> TranslationRecipe:
        """A translation recipe from its tables."""
        return translation_recipe(tables, where=where)

    def settled(self, device: torch.device, autocast: Autocast, processes: int) -> "TranslationWork":
        """The same: the recipe says how many tokens a pass takes."""
        return self

    def with_batch_size(self, size: int) -> "TranslationWork":
        """The same with so many tokens in a pass."""
        recipe = replace(self.recipe, optimizer=replace(self.recipe.optimizer, batch_size=size))
        return TranslationWork(recipe, self.source, self.vocabularies)

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """A model for these vocabularies."""
        try:
            model = build_seq2seq(self.config)
        except ValueError as error:
            raise UserError(f"[model] {error}", mend="change the sizes in the recipe") from None
        remarks = [f"{sum(p.numel() for p in model.parameters()):,} parameters"]
        if self.start is not None and not resume:
            _take(model, self.start, self.recipe.model.weights)
            remarks.append(f"starts from {self.recipe.model.weights}")
        if self.recipe.model.freeze:
            freeze(model, self.recipe.model.freeze)
            remarks.append(f"frozen: {', '.join(self.recipe.model.freeze)}")
        return model, tuple(remarks)

    def stream(self, *, rank: int, world_size: int) -> TextStream:
        """Batches of about as many tokens each, of sentences of like length."""
        recipe = self.recipe
        return TextStream(
            self.source,
            self.vocabularies.source,
            self.vocabularies.target,
            batch_tokens=recipe.optimizer.batch_size,
            max_tokens=recipe.data.max_tokens,
            max_ratio=recipe.data.max_ratio or None,
            seed=recipe.run.seed,
            workers=recipe.run.workers,
            rank=rank,
            world_size=world_size,
        )

    def placed(self, batch: TextBatch, device: torch.device) -> TextBatch:
        """The batch on the device."""
        return batch.to(device)

    def amount(self, batch: TextBatch) -> int:
        """Tokens of both sides, padding left out."""
        return int(batch.source_valid.sum()) + int(batch.target_valid.sum())

    def counts(self, batches: Sequence[TextBatch]) -> Float[Tensor, " counts"]:
        """Target tokens that the loss is divided by."""
        return torch.stack([self.criterion.counts(batch) for batch in batches]).mean(0)

    def loss(
        self, network: nn.Module, batch: TextBatch, counts: Float[Tensor, " counts"], autocast: Autocast
    ) -> BatchLoss:
        """The loss of the next word at every place."""
        with autocast():
            prediction = network(batch.source, batch.target_in, batch.source_valid, batch.target_valid)
        return BatchLoss(self.criterion(prediction, batch, counts), partial(_finite_or_not, prediction, batch))

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Write the model with its vocabularies."""
        assert isinstance(model, Seq2Seq)
        card = translator_card(
            self.config,
            source=self.vocabularies.source,
            target=self.vocabularies.target,
            languages=_languages(self.source),
            decoding=self.recipe.decoding,
            notes=({"started_from": self.recipe.model.weights} if self.recipe.model.weights else {}) | notes,
        )
        save_translator(path, model, card)


def open_text_source(recipe: TranslationRecipe, split: str) -> TextSource:
    """The pairs of a split.

    Raises:
        UserError: there are none, or lines that cannot be read.
    """
    settings = recipe.data
    limit = {settings.train: settings.train_limit, settings.val: settings.val_limit}.get(split, 0)
    if settings.path == NUMBERS:
        check_keys([split], ("train", "val", "test"), what="split of the numbers", where="data")
        usual = _NUMBERS_IN_EPOCH if split == "train" else _NUMBERS_TO_MEASURE
        return NumberPairs(
            split=split,  # type: ignore[arg-type]
            seed=0 if split == "train" else 1,
            count=limit or usual,
            most_digits=settings.most_digits,
        )
    languages = parse_languages(settings.languages) if settings.languages else None
    return open_text(Path(settings.path), split or None, languages, skip_faulty=settings.skip_faulty).first(limit)


def make_vocabularies(settings: TokenizerSettings, source: TextSource) -> Vocabularies:
    """Vocabularies that the settings name, or made from these pairs.

    Raises:
        UserError: a named one cannot be read, or there is no text.
    """
    if settings.path:
        ours = Tokenizer.load(settings.path)
        return Vocabularies(ours, Tokenizer.load(settings.target_path) if settings.target_path else ours)
    count = min(len(source), _NUMBERS_FOR_VOCABULARY) if source.endless else len(source)
    samples = [source.load(index) for index in range(count)]
    sides = [sample.source for sample in samples], [sample.target for sample in samples]
    prefixes = PREFIXES if isinstance(source, NumberPairs) else ()
    make: Callable[..., Tokenizer] = partial(
        train_tokenizer,
        kind=settings.kind,
        vocabulary_size=settings.vocabulary_size,
        prefixes=prefixes,
        normalise=settings.normalise,
        min_count=settings.min_count,
        byte_fallback=settings.byte_fallback,
    )
    if settings.joint:
        both = make([*sides[0], *sides[1]])
        return Vocabularies(both, both)
    return Vocabularies(make(sides[0]), make(sides[1]))


def config_for(recipe: TranslationRecipe, vocabularies: Vocabularies) -> Seq2SeqConfig:
    """The recipe's numbers with those of the vocabularies.

    Raises:
        UserError: they do not go together, such as tied embeddings of two vocabularies.
    """
    source, target = vocabularies.source, vocabularies.target
    if source.pad_id != target.pad_id:
        raise UserError(
            "the two vocabularies have padding at different places",
            where="tokenizer",
            mend="take one for both, or let training make them",
        )
    start, config = target.start_id, recipe.model.config
    if source is not target and config.tie in ("source_target", "all"):
        raise UserError(
            f"model.tie = {config.tie} wants one vocabulary",
            where="tokenizer.joint",
            mend='set it to true, or model.tie to "target_output"',
        )
    banned = {target.pad_id, start} | ({target.bos_id} if target.bos_id is not None else set())
    return replace(
        config,
        source_vocab=len(source),
        target_vocab=len(target),
        pad_id=target.pad_id,
        bos_id=start,
        eos_id=target.eos_id,
        banned_ids=tuple(sorted(banned)),
    )


def _languages(source: TextSource) -> tuple[str, ...]:
    return tuple(source.languages) if isinstance(source, TextPairs) and all(source.languages) else ()


def _take(model: Seq2Seq, start: LoadedTranslator, where: str) -> None:
    """The weights of a model to start from, all of them."""
    theirs, ours = start.model.state_dict(), model.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [list(state[name].shape) if name in state else "absent" for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"weights of another model: {name} is {shapes[0]} there, {shapes[1]} in the recipe",
                where=where,
                mend="leave the sizes of that model out of [model], or name other weights",
            )
    model.load_state_dict(theirs)


@torch.no_grad()
def _finite_or_not(prediction: TokenPrediction, batch: TextBatch) -> list[tuple[str, bool]]:
    """Each pair's name, and whether what was predicted for it is finite."""
    fine = prediction.logits.isfinite().all(-1)
    lengths = batch.target_valid.sum(1).tolist()
    return [(name, bool(part.all())) for name, part in zip(batch.names, fine.split(lengths), strict=True)]
