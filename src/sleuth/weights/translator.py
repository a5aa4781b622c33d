"""Translation models as files: the weights, the numbers and both vocabularies in one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.architectures import KEY, card_faults, card_for, settings_from
from sleuth.weights.checkpoint import fill, read_tensors, save_tensors, stored

ARCHITECTURE = "seq2seq"


@dataclass(frozen=True)
class TranslatorCard:
    """What the weights of a translation model belong to.

    Args:
        config: the numbers of the model.
        source: the source vocabulary, as :meth:`Tokenizer.to_card` writes it.
        target: the target vocabulary; empty where it is the source's.
        languages: source and target, such as ``en`` and ``de``; empty where nobody said.
        decoding: how it is decoded where nobody says otherwise, as in `DecodingOptions`.
        notes: whatever is worth keeping: scores, licence, the data.
    """

    config: dict[str, Any]
    source: dict[str, str]
    target: dict[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    decoding: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedTranslator:
    """A translation model with its weights, vocabularies and card, in evaluation mode."""

    model: Seq2Seq
    source: Tokenizer
    target: Tokenizer
    card: TranslatorCard

    @property
    def decoding(self) -> DecodingOptions:
        """How it is decoded where nobody says otherwise."""
        return DecodingOptions(**self.card.decoding)


def translator_card(
    config: Seq2SeqConfig,
    *,
    source: Tokenizer,
    target: Tokenizer,
    languages: tuple[str, ...] = (),
    decoding: DecodingOptions | None = None,
    notes: Mapping[str, Any] | None = None,
) -> TranslatorCard:
    """The card of a model with these vocabularies."""
    same = source == target
    return TranslatorCard(
        config=asdict(config),
        source=source.to_card(),
        target={} if same else target.to_card(),
        languages=languages,
        decoding={} if decoding is None else asdict(decoding),
        notes=dict(notes or {}),
    )


def save_translator(path: Path, model: Seq2Seq, card: TranslatorCard, *, dtype: torch.dtype | None = None) -> None:
    """Write a translation model atomically; a table that several parts share is written once.

    Args:
        path: a ``.safetensors`` file.
        model: whose weights to write.
        card: what they belong to.
        dtype: store weights in this type; None keeps them.

    Raises:
        UserError: the file cannot be written; a former file of that name stays as it was.
    """
    values = {"architecture": ARCHITECTURE, **asdict(card)}
    shared = _shared(model)
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in shared}
    save_tensors(path, stored(state, dtype), {KEY: json.dumps(values)})


def load_translator(path: Path) -> LoadedTranslator:
    """Build the model that a file's card describes and fill it with the file's weights.

    Raises:
        UserError: missing or broken file, a model for something else, an unknown option, weights of another model.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    values = card_for("translation", path, metadata)
    with card_faults(path):
        card = settings_from(TranslatorCard, {key: value for key, value in values.items() if key != "architecture"})
        config = settings_from(Seq2SeqConfig, card.config)
        model = build_seq2seq(config)
        settings_from(DecodingOptions, card.decoding)
    source = Tokenizer.from_card(card.source)
    target = Tokenizer.from_card(card.target) if card.target else source
    source.check_size(config.source_vocab, where=path)
    target.check_size(config.target_vocab, where=path)
    # A shared table stands in the file once.
    fill(model, tensors | {name: tensors[kept] for name, kept in _shared(model).items() if kept in tensors}, path)
    return LoadedTranslator(model.eval(), source, target, card)


def _shared(model: Seq2Seq) -> dict[str, str]:
    """Names of tensors that are another's too, and the name that the file has."""
    first: dict[int, str] = {}
    again: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        kept = first.setdefault(id(parameter), name)
        if kept != name:
            again[name] = kept
    return again
