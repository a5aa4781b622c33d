"""Keys of Hugging Face's Marian and where they go."""

from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule

_BOTH = ("weight", "bias")
_SINES = "sines, which the model computes; whether they are its own is looked at before"

Tied = Literal["target_output", "all"]
"""What is one table: the target side's embeddings and the output, or the source side's as well."""


def _pairs(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.{part}", f"{ours}.{part}") for part in _BOTH]


def _attention(theirs: str, ours: str) -> list[Rule]:
    return [rule for name in ("q", "k", "v", "out") for rule in _pairs(f"{theirs}.{name}_proj", f"{ours}.{name}_proj")]


def _stack(name: str, *, last_norm: str) -> list[Rule]:
    """The layers of one stack without cross-attention."""
    theirs, ours = f"model.{name}.layers.{{layer}}", f"{name}.layers.{{layer}}"
    return [
        *_attention(f"{theirs}.self_attn", f"{ours}.self_attention"),
        *_pairs(f"{theirs}.self_attn_layer_norm", f"{ours}.norm1"),
        *_pairs(f"{theirs}.fc{{n}}", f"{ours}.feedforward.linear{{n}}"),
        *_pairs(f"{theirs}.final_layer_norm", f"{ours}.{last_norm}"),
        Rule(f"model.{name}.embed_positions.weight", op="drop", reason=_SINES),
    ]


@cache
def marian_huggingface(tied: Tied) -> KeyMap:
    """The key map of one kind of Marian.

    A table that is one stands in the files under one of its names or under several; under ours it is filled once, as
    the target side's embeddings.

    Args:
        tied: which tables are one.
    """
    source, target = "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
    ours, output = "target_embedding.table.weight", "lm_head.weight"
    if tied == "all":
        tables = [Rule("model.shared.weight", ours, aliases=(source, target, output))]
    else:
        tables = [Rule(source, "source_embedding.table.weight"), Rule(target, ours, aliases=(output,))]
    layer, cross = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    rules = [
        *tables,
        *_stack("encoder", last_norm="norm2"),
        *_stack("decoder", last_norm="norm3"),
        *_attention(f"{layer}.encoder_attn", f"{cross}.cross_attention"),
        *_pairs(f"{layer}.encoder_attn_layer_norm", f"{cross}.norm2"),
        Rule("final_logits_bias", "head.bias", op="row"),
    ]
    return KeyMap(rules, origin="Hugging Face's MarianMTModel")
