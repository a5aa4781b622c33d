"""Variables of CTranslate2's Transformer and where they go."""

from functools import cache

from sleuth.weights.keymap import KeyMap, Op, Rule

_NORM = (("gamma", "weight"), ("beta", "bias"))
_LINEAR = ("weight", "bias")


def _linear(theirs: str, ours: str, op: Op = "identity") -> list[Rule]:
    return [Rule(f"{theirs}/{part}", f"{ours}.{part}", op=op) for part in _LINEAR]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}/{name}", f"{ours}.{part}") for name, part in _NORM]


def _stack(name: str, *, last_norm: str) -> list[Rule]:
    """The layers of the encoder or decoder without cross-attention."""
    theirs, ours = f"{name}/layer_{{layer}}", f"{name}.layers.{{layer}}"
    return [
        *_linear(f"{theirs}/self_attention/linear_0", f"{ours}.self_attention.{{qkv}}", op="split_qkv"),
        *_linear(f"{theirs}/self_attention/linear_1", f"{ours}.self_attention.out_proj"),
        *_norm(f"{theirs}/self_attention/layer_norm", f"{ours}.norm1"),
        *_linear(f"{theirs}/ffn/linear_0", f"{ours}.feedforward.linear1"),
        *_linear(f"{theirs}/ffn/linear_1", f"{ours}.feedforward.linear2"),
        *_norm(f"{theirs}/ffn/layer_norm", f"{ours}.{last_norm}"),
        *_norm(f"{name}/layer_norm", f"{name}.norm"),
    ]


def _cross_attention() -> list[Rule]:
    theirs, ours = "decoder/layer_{layer}/attention", "decoder.layers.{layer}.cross_attention"
    return [
        *_linear(f"{theirs}/linear_0", f"{ours}.q_proj"),
        *_linear(f"{theirs}/linear_1", f"{ours}.{{kv}}", op="split_kv"),
        *_linear(f"{theirs}/linear_2", f"{ours}.out_proj"),
        *_norm(f"{theirs}/layer_norm", "decoder.layers.{layer}.norm2"),
    ]


@cache
def ctranslate2() -> KeyMap:
    """The key map. Attributes, which are scalars, and tables of positions are no part of it.

    Norms stand at the same names, whether they come before or after their sublayer.
    """
    rules = [
        Rule("encoder/embeddings_0/weight", "source_embedding.table.weight", also=("encoder/embeddings/weight",)),
        Rule("decoder/embeddings/weight", "target_embedding.table.weight"),
        *_norm("encoder/layernorm_embedding", "source_embedding.norm"),
        *_norm("decoder/layernorm_embedding", "target_embedding.norm"),
        *_stack("encoder", last_norm="norm2"),
        *_stack("decoder", last_norm="norm3"),
        *_cross_attention(),
        *_linear("decoder/projection", "head"),
    ]
    return KeyMap(rules, origin="CTranslate2's Transformer")
