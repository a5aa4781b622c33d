"""Keys of Hugging Face's Deformable DETR, as the hub's files spell them and as version 5 of its library does."""

from functools import cache

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.deformable_detr_original import tied
from sleuth.weights.maps.huggingface_parts import (
    Backbone,
    Layout,
    Table,
    add_backbone,
    dense_attention,
    learned_positions,
)


def _deformable_attention(table: Table, theirs: str, ours: str) -> None:
    names = {"sampling_offsets": "offsets", "attention_weights": "weights", "output_proj": "out_proj"}
    for name, our_name in (*names.items(), ("value_proj", "value_proj")):
        table.add(table.spell(f"{theirs}.{name}"), f"{ours}.{our_name}")


def _transformer(table: Table) -> None:
    for stack, last_norm in (("encoder", "norm2"), ("decoder", "norm3")):
        theirs, ours = f"model.{stack}.layers.{{layer}}", f"{stack}.layers.{{layer}}"
        table.add(table.spell(f"{theirs}.self_attn_layer_norm"), f"{ours}.norm1")
        table.add(table.spell(f"{theirs}.fc{{n}}", f"{theirs}.mlp.fc{{n}}"), f"{ours}.feedforward.linear{{n}}")
        table.add(table.spell(f"{theirs}.final_layer_norm"), f"{ours}.{last_norm}")
    _deformable_attention(table, "model.encoder.layers.{layer}.self_attn", "encoder.layers.{layer}.self_attention")
    theirs, ours = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    dense_attention(table, f"{theirs}.self_attn", f"{ours}.self_attention")
    _deformable_attention(table, f"{theirs}.encoder_attn", f"{ours}.cross_attention")
    table.add(table.spell(f"{theirs}.encoder_attn_layer_norm"), f"{ours}.norm2")


def _heads(decoder_layers: int, *, refine: bool, two_stage: bool) -> list[Rule]:
    """Heads, each of which may stand in the file under the names of all that share it, or of one of them."""
    rules: list[Rule] = []
    for theirs, ours, inside, inner in (
        ("class_embed", "class_heads", "", two_stage),
        ("bbox_embed", "decoder.box_heads", ".layers.{n}", refine),
    ):
        prefixes = ("", "model.decoder.") if inner else ("",)
        names = [[f"{prefix}{theirs}.{layer}{inside}" for prefix in prefixes] for layer in range(decoder_layers + 1)]
        groups = names[:decoder_layers] if refine else [[name for each in names[:decoder_layers] for name in each]]
        for number, group in enumerate(groups):
            rules += tied(group, f"{ours}.{number}{inside}")
        if two_stage:
            place = "class_head" if theirs == "class_embed" else "box_head"
            rules += tied(names[decoder_layers], f"queries.source.{place}{inside}")
    return rules


@cache
def deformable_detr_huggingface(
    *,
    backbone: Backbone,
    levels: int = 4,
    decoder_layers: int = 6,
    refine: bool = False,
    two_stage: bool = False,
    layout: Layout = "hub",
    stages: int = 4,
) -> KeyMap:
    """The key map of one kind of Hugging Face's Deformable DETR. Each reads both layouts.

    Args:
        backbone: timm's ResNet, or Hugging Face's own.
        levels: levels of the pyramid.
        decoder_layers: layers of the decoder.
        refine: each layer has heads of its own, and the decoder holds the box heads as well.
        two_stage: one more pair of heads makes proposals, and the decoder holds the class heads as well.
        layout: the spelling that is written.
        stages: how many stages of the backbone are used; the weights of the others are dropped.
    """
    table = Table(layout, "")
    add_backbone(table, backbone, stages)
    for level in range(levels):
        table.add(table.spell(f"model.input_proj.{level}.0"), f"input_proj.convs.{level}")
        table.add(table.spell(f"model.input_proj.{level}.1"), f"input_proj.norms.{level}")
    table.rules.append(Rule("model.level_embed", "level_embed"))
    learned_positions(table)
    _transformer(table)
    if two_stage:
        for theirs, ours in (
            ("enc_output", "source.proj"),
            ("enc_output_norm", "source.norm"),
            ("pos_trans", "positions.proj"),
            ("pos_trans_norm", "positions.norm"),
        ):
            table.add(table.spell(f"model.{theirs}"), f"queries.{ours}")
    else:
        table.rules.append(Rule("model.query_position_embeddings.weight", "queries.weight"))
        table.add(table.spell("model.reference_points"), "queries.place")
    table.rules += _heads(decoder_layers, refine=refine, two_stage=two_stage)
    return KeyMap(table.rules, origin="Hugging Face's DeformableDetrForObjectDetection")
