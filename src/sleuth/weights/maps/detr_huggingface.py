"""Keys of Hugging Face's DETR and where they go, as the hub's files spell them and as version 5 of its library does."""

from functools import cache

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.huggingface_parts import (
    Backbone,
    Layout,
    Table,
    add_backbone,
    dense_attention,
    learned_positions,
)


def _transformer(table: Table) -> None:
    for stack, last_norm in (("encoder", "norm2"), ("decoder", "norm3")):
        theirs, ours = f"model.{stack}.layers.{{layer}}", f"{stack}.layers.{{layer}}"
        dense_attention(table, f"{theirs}.self_attn", f"{ours}.self_attention")
        table.add(table.spell(f"{theirs}.self_attn_layer_norm"), f"{ours}.norm1")
        table.add(table.spell(f"{theirs}.fc{{n}}", f"{theirs}.mlp.fc{{n}}"), f"{ours}.feedforward.linear{{n}}")
        table.add(table.spell(f"{theirs}.final_layer_norm"), f"{ours}.{last_norm}")
    theirs, ours = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    dense_attention(table, f"{theirs}.encoder_attn", f"{ours}.cross_attention")
    table.add(table.spell(f"{theirs}.encoder_attn_layer_norm"), f"{ours}.norm2")
    table.add(table.spell("model.decoder.layernorm"), "decoder.norm")


def _mask_head(table: Table) -> None:
    for name in ("q", "k"):
        spellings = table.spell(f"bbox_attention.{name}_linear", f"bbox_attention.{name}_proj")
        table.add(spellings, f"mask_head.attention.{name}_proj")
    v5_convs = ("conv1", "conv2", *(f"fpn_stages.{stage}.refine" for stage in range(3)))
    for n, v5 in enumerate(v5_convs):
        table.add(table.spell(f"mask_head.lay{n + 1}", f"mask_head.{v5}.conv"), f"mask_head.convs.{n}")
        table.add(table.spell(f"mask_head.gn{n + 1}", f"mask_head.{v5}.norm"), f"mask_head.norms.{n}")
    for n in range(3):
        v5 = f"mask_head.fpn_stages.{n}.fpn_adapter"
        table.add(table.spell(f"mask_head.adapter{n + 1}", v5), f"mask_head.laterals.{n}")
    table.add(table.spell("mask_head.out_lay", "mask_head.output_conv"), "mask_head.out")


@cache
def detr_huggingface(*, backbone: Backbone, masks: bool = False, layout: Layout = "hub", stages: int = 4) -> KeyMap:
    """The key map of one kind of Hugging Face's DETR. Each reads both layouts.

    Args:
        backbone: timm's ResNet, or Hugging Face's own.
        masks: the keys of DetrForSegmentation, which wraps the detector as ``detr``.
        layout: the spelling that is written: as in the hub's files, which every version reads, or as version 5 names
            its modules.
        stages: how many stages of the backbone are used; the weights of the others are dropped.
    """
    table = Table(layout, "detr." if masks else "")
    add_backbone(table, backbone, stages)
    table.add(table.spell("model.input_projection"), "input_proj")
    learned_positions(table)
    _transformer(table)
    table.rules.append(Rule(f"{table.prefix}model.query_position_embeddings.weight", "queries.weight"))
    table.add(table.spell("class_labels_classifier"), "class_head")
    table.add(table.spell("bbox_predictor.layers.{n}"), "box_head.mlp.layers.{n}")
    if masks:
        table.prefix = ""
        _mask_head(table)
    kind = "DetrForSegmentation" if masks else "DetrForObjectDetection"
    return KeyMap(table.rules, origin=f"Hugging Face's {kind}")
