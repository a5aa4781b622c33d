"""The numbers of CTranslate2's Transformer: its attributes, the shapes of its weights, its tables of positions."""

import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig
from sleuth.nn.tokens import sine_table
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies
from sleuth.weights.origins.fields import Fields

NORM_EPSILON = 1e-5
ACTIVATIONS: Mapping[int, Literal["relu", "gelu_tanh", "silu", "gelu"]] = {
    0: "relu",
    1: "gelu_tanh",
    2: "silu",
    3: "gelu",
}
_ENDLESS = 1024  # how many positions a model gets that has no table of them
_PADDING = ("<pad>", "<blank>")
_FALSE_ONLY = ("alibi", "start_from_zero_embedding", "multi_query_attention")
# Attributes that change nothing here: which heads tell alignment, how to merge several embeddings, options of alibi.
_IDLE = ("alignment_layer", "alignment_heads", "embeddings_merge", "alibi_use_positive_positions", "scale_alibi")


def read_numbers(
    attributes: "Attributes",
    weights: Mapping[str, Tensor],
    tables: Mapping[str, Tensor | None],
    vocabularies: Vocabularies,
    fields: Fields,
) -> Seq2SeqConfig:
    """The numbers of the model.

    Raises:
        UserError: it does something that ours does not.
    """
    where = attributes.where
    for side, name in product(("encoder", "decoder"), _FALSE_ONLY):
        if attributes.number(side, name, 0):
            raise UserError(f"{side}/{name} is not supported", where=where, mend="take the model that it was made from")
    epsilon = fields.number("layer_norm_epsilon", NORM_EPSILON)
    if not math.isclose(epsilon, NORM_EPSILON, rel_tol=1e-3):
        raise fields.fault("layer_norm_epsilon", f"only {NORM_EPSILON} is supported")
    source = weight_of(weights, ("encoder/embeddings_0/weight", "encoder/embeddings/weight"), where)
    target = weight_of(weights, ("decoder/embeddings/weight",), where)
    head = weight_of(weights, ("decoder/projection/weight",), where)
    dim = source.shape[-1]
    hidden = {side: weights.get(f"{side}/layer_0/ffn/linear_0/weight", source) for side in ("encoder", "decoder")}
    start = id_of(vocabularies.target, fields.text("decoder_start_token", "<s>"), fields)[0]
    activation = attributes.both("activation", 0)
    if activation not in ACTIVATIONS:
        raise UserError(f"the activation of number {activation} is not supported", where=where)
    try:
        return Seq2SeqConfig(
            source_vocab=len(source),
            target_vocab=len(target),
            dim=dim,
            num_heads=attributes.number("encoder", "num_heads"),
            decoder_num_heads=attributes.number("decoder", "num_heads"),
            encoder_layers=_layers(weights, "encoder"),
            decoder_layers=_layers(weights, "decoder"),
            feedforward_dim=len(hidden["encoder"]),
            decoder_feedforward_dim=len(hidden["decoder"]),
            activation=ACTIVATIONS[activation],
            pre_norm=bool(attributes.both("pre_norm", 1)),
            final_norm="decoder/layer_norm/gamma" in weights,
            norm_embedding="decoder/layernorm_embedding/gamma" in weights,
            scale_embedding=attributes.scaled(dim),
            tie=_tie(source, target, head),
            output_bias="decoder/projection/bias" in weights,
            pad_id=_padding(vocabularies, start),
            bos_id=start,
            eos_id=id_of(vocabularies.target, fields.text("eos_token", "</s>"), fields)[0],
            banned_ids=(),
            **_positions(tables, dim, where),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error


class Attributes:
    """The scalars of a model: numbers and switches by side and name. Every one must be known.

    Args:
        values: the scalars.
        where: the file, for messages.
    """

    def __init__(self, values: Mapping[str, Tensor], where: Path) -> None:
        self.values = values
        self.where = where
        known = {"num_heads", "pre_norm", "activation", "scale_embeddings", *_FALSE_ONLY, *_IDLE}
        sides = {f"{side}/{name}" for side in ("encoder", "decoder") for name in known}
        if unknown := sorted(values.keys() - sides):
            what = f"the attribute {unknown[0]!r} is unknown, so what it does to the model is unknown too"
            raise UserError(what, where=where, mend="take the model that it was made from")

    def number(self, side: str, name: str, default: int | None = None) -> int:
        """A whole number or a switch of one side."""
        value = self.values.get(f"{side}/{name}")
        if value is None and default is None:
            raise UserError(f"says nothing of {side}/{name}", where=self.where, mend="convert the model again")
        return default if value is None and default is not None else int(value)  # type: ignore[arg-type]

    def both(self, name: str, default: int) -> int:
        """A number that must be the same of both sides."""
        encoder, decoder = (self.number(side, name, default) for side in ("encoder", "decoder"))
        if encoder != decoder:
            what = f"{name} is {encoder} in the encoder and {decoder} in the decoder"
            raise UserError(what, where=self.where, mend="ours has one for both")
        return encoder

    def scaled(self, dim: int) -> bool:
        """Whether embeddings are multiplied by sqrt(dim): a switch, or the number itself."""
        scales = []
        for side in ("encoder", "decoder"):
            value = self.values.get(f"{side}/scale_embeddings", torch.tensor(1, dtype=torch.int8))
            scales.append(float(value) if value.is_floating_point() else (math.sqrt(dim) if int(value) else 1.0))
        wanted = next((scale for scale in (math.sqrt(dim), 1.0) if math.isclose(scale, scales[0], rel_tol=1e-6)), None)
        if wanted is None or not math.isclose(scales[0], scales[1]):
            what = f"embeddings are multiplied by {scales[0]:g} and {scales[1]:g}"
            raise UserError(what, where=self.where, mend=f"supported: 1, or sqrt(dim) = {math.sqrt(dim):g}")
        return wanted != 1.0


def _positions(tables: Mapping[str, Tensor | None], dim: int, where: Path) -> dict[str, Any]:
    """Which positions a model has: without a table OpenNMT-tf's sines; with one sines, where it holds some."""
    encoder, decoder = tables["encoder"], tables["decoder"]
    if encoder is None and decoder is None:
        return {"sine_layout": "halves", "sine_endpoint": True, "position_start": 1, "max_positions": _ENDLESS}
    if encoder is None or decoder is None or encoder.shape != decoder.shape:
        raise UserError("encoder and decoder have different kinds of positions", where=where, mend="ours has one kind")
    length = {"max_positions": len(encoder)}
    if dim % 2 == 0 and torch.equal(encoder, decoder):
        for layout, endpoint, start in product(("interleaved", "halves"), (False, True), (0, 1, 2)):
            sines = sine_table(len(encoder), dim, layout=layout, endpoint=endpoint, start=start)  # type: ignore[arg-type]
            if sines.shape == encoder.shape and torch.allclose(sines, encoder, atol=1e-5, rtol=0):
                return {"sine_layout": layout, "sine_endpoint": endpoint, "position_start": start} | length
    return {"positions": "learned"} | length


def _tie(source: Tensor, target: Tensor, head: Tensor) -> Literal["none", "target_output", "source_target", "all"]:
    def same(one: Tensor, other: Tensor) -> bool:
        return one is other or (one.shape == other.shape and torch.equal(one, other))

    output = same(target, head)
    if same(source, target):
        return "all" if output else "source_target"
    return "target_output" if output else "none"


def _layers(weights: Mapping[str, Tensor], side: str) -> int:
    places = {name.split("/")[1] for name in weights if name.startswith(f"{side}/layer_")}
    return sum(place.removeprefix("layer_").isdigit() for place in places)


def weight_of(weights: Mapping[str, Tensor], names: tuple[str, ...], where: Path) -> Tensor:
    """The matrix under the first of these names that there is.

    Raises:
        UserError: there is none.
    """
    found = next((weights[name] for name in names if name in weights), None)
    if found is None or found.dim() != 2:
        raise UserError(f"holds no table {names[0]!r}", where=where, mend="convert the model again")
    return found


def _padding(vocabularies: Vocabularies, start: int) -> int:
    """An id for filling up sentences that no sentence holds: both sides' padding, or what decoding starts from."""
    for name in _PADDING:
        if name in vocabularies.source and name in vocabularies.target:
            place = vocabularies.source.index(name)
            if place == vocabularies.target.index(name):
                return place
    return start


def id_of(tokens: tuple[str, ...], token: str, fields: Fields) -> tuple[int]:
    """The id of a token that a configuration names.

    Raises:
        UserError: the vocabulary lacks it.
    """
    if token not in tokens:
        raise UserError(f"the vocabulary has no {token!r}", where=fields.where, mend="check the tokens named there")
    return (tokens.index(token),)
