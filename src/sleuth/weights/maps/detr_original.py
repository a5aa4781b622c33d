"""Keys of the original DETR (facebookresearch/detr) and where they go."""

from dataclasses import replace

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.original_parts import attention, backbone, both


def _transformer() -> list[Rule]:
    rules: list[Rule] = []
    encoder, decoder = "encoder.layers.{layer}", "decoder.layers.{layer}"
    rules += attention(f"transformer.{encoder}.self_attn", f"{encoder}.self_attention")
    rules += attention(f"transformer.{decoder}.self_attn", f"{decoder}.self_attention")
    rules += attention(f"transformer.{decoder}.multihead_attn", f"{decoder}.cross_attention")
    for layer in (encoder, decoder):
        rules += both(f"transformer.{layer}.linear{{n}}", f"{layer}.feedforward.linear{{n}}")
        rules += both(f"transformer.{layer}.norm{{n}}", f"{layer}.norm{{n}}")
    rules += both("transformer.encoder.norm", "encoder.norm")
    rules += both("transformer.decoder.norm", "decoder.norm")
    return rules


def _mask_head() -> list[Rule]:
    rules = both("bbox_attention.q_linear", "mask_head.attention.q_proj")
    rules += both("bbox_attention.k_linear", "mask_head.attention.k_proj")
    for ours, theirs, count in (("convs", "lay", 5), ("norms", "gn", 5), ("laterals", "adapter", 3)):
        for n in range(count):
            rules += both(f"mask_head.{theirs}{n + 1}", f"mask_head.{ours}.{n}")
    return rules + both("mask_head.out_lay", "mask_head.out")


_DETECTOR = [
    *backbone(),
    *both("input_proj", "input_proj"),
    Rule("backbone.1.row_embed.weight", "positions.row"),
    Rule("backbone.1.col_embed.weight", "positions.column"),
    *_transformer(),
    Rule("query_embed.weight", "queries.weight"),
    *both("class_embed", "class_head"),
    *both("bbox_embed.layers.{n}", "box_head.mlp.layers.{n}"),
]

DETR_ORIGINAL = KeyMap(_DETECTOR, origin="facebookresearch/detr")
"""A detector's keys."""

DETR_ORIGINAL_MASKS = KeyMap(
    [*(replace(rule, source=f"detr.{rule.source}") for rule in _DETECTOR), *_mask_head()],
    origin="facebookresearch/detr with masks",
)
"""The keys of a detector with a mask head, which wraps the detector as ``detr``."""
