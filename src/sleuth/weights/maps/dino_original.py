"""Keys of the original DINO (IDEA-Research/DINO) and where they go."""

from functools import cache

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.deformable_detr_original import deformable_transformer, tied
from sleuth.weights.maps.original_parts import both


@cache
def dino_original(
    *, levels: int = 4, decoder_layers: int = 6, shared_class_head: bool = True, shared_box_head: bool = True
) -> KeyMap:
    """The key map of one kind of DINO.

    Args:
        levels: levels of the pyramid.
        decoder_layers: layers of the decoder, each of which has a head under two names.
        shared_class_head: the class heads of all layers are one.
        shared_box_head: the box heads of all layers are one.
    """
    rules = deformable_transformer(levels)
    rules += both("transformer.decoder.norm", "decoder.norm")
    rules += both("transformer.decoder.ref_point_head.layers.{n}", "decoder.position.mlp.layers.{n}")
    rules += both("transformer.enc_output", "queries.source.proj")
    rules += both("transformer.enc_output_norm", "queries.source.norm")
    rules += both("transformer.enc_out_class_embed", "queries.source.class_head")
    rules += both("transformer.enc_out_bbox_embed.layers.{n}", "queries.source.box_head.layers.{n}")
    rules += [Rule("transformer.tgt_embed.weight", "queries.source.content")]
    rules += [Rule("label_enc.weight", "denoising.labels.weight")]
    for theirs, ours, inside, shared in (
        ("class_embed", "class_heads", "", shared_class_head),
        ("bbox_embed", "decoder.box_heads", ".layers.{n}", shared_box_head),
    ):
        names = [
            [f"{prefix}{theirs}.{layer}{inside}" for prefix in ("", "transformer.decoder.")]
            for layer in range(decoder_layers)
        ]
        groups = [[name for both_names in names for name in both_names]] if shared else names
        for number, group in enumerate(groups):
            rules += tied(group, f"{ours}.{number}{inside}")
    return KeyMap(rules, origin="IDEA-Research/DINO")
