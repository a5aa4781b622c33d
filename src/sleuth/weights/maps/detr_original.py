"""Keys of the original DETR (facebookresearch/detr) and where they go."""

from dataclasses import replace

from sleuth.weights.keymap import KeyMap, Rule

_NORM = ("weight", "bias", "running_mean", "running_var")
_BOTH = ("weight", "bias")
_COUNTER = "counts training batches; frozen batch norm has no use for it"


def _batch_norm(source: str, target: str) -> list[Rule]:
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _NORM]


def _both(source: str, target: str) -> list[Rule]:
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _BOTH]


def _attention(source: str, target: str) -> list[Rule]:
    stacked = [Rule(f"{source}.in_proj_{leaf}", f"{target}.{{qkv}}.{leaf}", op="split_qkv") for leaf in _BOTH]
    return [*stacked, *_both(f"{source}.out_proj", f"{target}.out_proj")]


def _backbone() -> list[Rule]:
    ours, theirs = "backbone.body", "backbone.0.body"
    rules = [Rule(f"{theirs}.conv1.weight", f"{ours}.conv1.weight"), *_batch_norm(f"{theirs}.bn1", f"{ours}.bn1")]
    block = "layer{stage}.{block}"
    rules += [Rule(f"{theirs}.{block}.conv{{n}}.weight", f"{ours}.{block}.conv{{n}}.weight")]
    rules += _batch_norm(f"{theirs}.{block}.bn{{n}}", f"{ours}.{block}.bn{{n}}")
    rules += [Rule(f"{theirs}.{block}.downsample.0.weight", f"{ours}.{block}.downsample.0.weight")]
    rules += _batch_norm(f"{theirs}.{block}.downsample.1", f"{ours}.{block}.downsample.1")
    counters = ("bn1", f"{block}.bn{{n}}", f"{block}.downsample.1")
    return rules + [Rule(f"{theirs}.{at}.num_batches_tracked", op="drop", reason=_COUNTER) for at in counters]


def _transformer() -> list[Rule]:
    rules: list[Rule] = []
    encoder, decoder = "encoder.layers.{layer}", "decoder.layers.{layer}"
    rules += _attention(f"transformer.{encoder}.self_attn", f"{encoder}.self_attention")
    rules += _attention(f"transformer.{decoder}.self_attn", f"{decoder}.self_attention")
    rules += _attention(f"transformer.{decoder}.multihead_attn", f"{decoder}.cross_attention")
    for layer in (encoder, decoder):
        rules += _both(f"transformer.{layer}.linear{{n}}", f"{layer}.feedforward.linear{{n}}")
        rules += _both(f"transformer.{layer}.norm{{n}}", f"{layer}.norm{{n}}")
    rules += _both("transformer.encoder.norm", "encoder.norm")
    rules += _both("transformer.decoder.norm", "decoder.norm")
    return rules


def _mask_head() -> list[Rule]:
    rules = _both("bbox_attention.q_linear", "mask_head.attention.q_proj")
    rules += _both("bbox_attention.k_linear", "mask_head.attention.k_proj")
    for ours, theirs, count in (("convs", "lay", 5), ("norms", "gn", 5), ("laterals", "adapter", 3)):
        for n in range(count):
            rules += _both(f"mask_head.{theirs}{n + 1}", f"mask_head.{ours}.{n}")
    return rules + _both("mask_head.out_lay", "mask_head.out")


_DETECTOR = [
    *_backbone(),
    *_both("input_proj", "input_proj"),
    Rule("backbone.1.row_embed.weight", "positions.row"),
    Rule("backbone.1.col_embed.weight", "positions.column"),
    *_transformer(),
    Rule("query_embed.weight", "queries.weight"),
    *_both("class_embed", "class_head"),
    *_both("bbox_embed.layers.{n}", "box_head.mlp.layers.{n}"),
]

DETR_ORIGINAL = KeyMap(_DETECTOR, origin="facebookresearch/detr")
"""A detector's keys."""

DETR_ORIGINAL_MASKS = KeyMap(
    [*(replace(rule, source=f"detr.{rule.source}") for rule in _DETECTOR), *_mask_head()],
    origin="facebookresearch/detr with masks",
)
"""The keys of a detector with a mask head, which wraps the detector as ``detr``."""
