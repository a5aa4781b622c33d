"""Keys of the original Deformable DETR (fundamentalvision/Deformable-DETR) and where they go."""

from functools import cache

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.original_parts import BOTH, attention, backbone, both


def deformable_attention(source: str, target: str) -> list[Rule]:
    """A deformable attention."""
    names = {"sampling_offsets": "offsets", "attention_weights": "weights", "output_proj": "out_proj"}
    names["value_proj"] = "value_proj"
    return [rule for theirs, ours in names.items() for rule in both(f"{source}.{theirs}", f"{target}.{ours}")]


def deformable_transformer(levels: int) -> list[Rule]:
    """What Deformable DETR and DINO have in common: backbone, levels, layers of encoder and decoder."""
    rules = backbone()
    for level in range(levels):
        rules += both(f"input_proj.{level}.0", f"input_proj.convs.{level}")
        rules += both(f"input_proj.{level}.1", f"input_proj.norms.{level}")
    rules.append(Rule("transformer.level_embed", "level_embed"))
    encoder, decoder = "encoder.layers.{layer}", "decoder.layers.{layer}"
    rules += deformable_attention(f"transformer.{encoder}.self_attn", f"{encoder}.self_attention")
    rules += deformable_attention(f"transformer.{decoder}.cross_attn", f"{decoder}.cross_attention")
    rules += attention(f"transformer.{decoder}.self_attn", f"{decoder}.self_attention")
    rules += both(f"transformer.{encoder}.norm{{n}}", f"{encoder}.norm{{n}}")
    # The original numbers its norms by their place in the code: the first one of a decoder layer follows the look at
    # the memory.
    for theirs, ours in ((1, 2), (2, 1), (3, 3)):
        rules += both(f"transformer.{decoder}.norm{theirs}", f"{decoder}.norm{ours}")
    for layer in (encoder, decoder):
        rules += both(f"transformer.{layer}.linear{{n}}", f"{layer}.feedforward.linear{{n}}")
    return rules


def tied(sources: list[str], target: str) -> list[Rule]:
    """Weight and bias that the original holds under several names."""
    return [
        Rule(f"{first}.{leaf}", f"{target}.{leaf}", aliases=tuple(f"{other}.{leaf}" for other in others))
        for first, *others in [sources]
        for leaf in BOTH
    ]


@cache
def deformable_detr_original(
    *, levels: int = 4, decoder_layers: int = 6, refine: bool = False, two_stage: bool = False
) -> KeyMap:
    """The key map of one kind of Deformable DETR.

    Args:
        levels: levels of the pyramid.
        decoder_layers: layers of the decoder, each of which has a head under a name of its own.
        refine: each has heads of its own, and the decoder holds the box heads as well; otherwise all are one.
        two_stage: one more pair of heads makes proposals, and the decoder holds the class heads as well.
    """
    rules = deformable_transformer(levels)
    rules += [Rule("backbone.1.row_embed.weight", "positions.row")]
    rules += [Rule("backbone.1.col_embed.weight", "positions.column")]
    inner_class, inner_box = "transformer.decoder.class_embed", "transformer.decoder.bbox_embed"
    if two_stage:
        rules += both("transformer.enc_output", "queries.source.proj")
        rules += both("transformer.enc_output_norm", "queries.source.norm")
        rules += both("transformer.pos_trans", "queries.positions.proj")
        rules += both("transformer.pos_trans_norm", "queries.positions.norm")
        last = decoder_layers
        rules += tied([f"class_embed.{last}", f"{inner_class}.{last}"], "queries.source.class_head")
        box = f"bbox_embed.{last}.layers.{{n}}", f"{inner_box}.{last}.layers.{{n}}"
        rules += tied([*box], "queries.source.box_head.layers.{n}")
    else:
        rules += [Rule("query_embed.weight", "queries.weight")]
        rules += both("transformer.reference_points", "queries.place")
    if refine:
        for layer in range(decoder_layers):
            inner = [f"{inner_class}.{layer}"] if two_stage else []
            rules += tied([f"class_embed.{layer}", *inner], f"class_heads.{layer}")
            box = f"bbox_embed.{layer}.layers.{{n}}", f"{inner_box}.{layer}.layers.{{n}}"
            rules += tied([*box], f"decoder.box_heads.{layer}.layers.{{n}}")
    else:
        rules += tied([f"class_embed.{layer}" for layer in range(decoder_layers)], "class_heads.0")
        boxes = [f"bbox_embed.{layer}.layers.{{n}}" for layer in range(decoder_layers)]
        rules += tied(boxes, "decoder.box_heads.0.layers.{n}")
    return KeyMap(rules, origin="fundamentalvision/Deformable-DETR")
