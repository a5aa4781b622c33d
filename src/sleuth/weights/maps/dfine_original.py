"""Keys of the original D-FINE (Peterande/D-FINE) and where they go."""

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.rtdetr_parts import (
    both_rules,
    conv_norm_rules,
    dfine_encoder_rules,
    hgnetv2_rules,
    self_attention_rules,
)

_CONSTANT = "a constant of the input's size, computed anew"


def _decoder() -> list[Rule]:
    theirs, ours = "decoder.decoder.layers.{layer}", "decoder.layers.{layer}"
    rules = self_attention_rules(f"{theirs}.self_attn", f"{ours}.self_attention")
    rules += both_rules(f"{theirs}.norm1", f"{ours}.norm1")
    rules += both_rules(f"{theirs}.cross_attn.sampling_offsets", f"{ours}.cross_attention.offsets")
    rules += both_rules(f"{theirs}.cross_attn.attention_weights", f"{ours}.cross_attention.weights")
    rules += [Rule(f"{theirs}.cross_attn.num_points_scale", op="drop", reason="made from the numbers of points")]
    rules += both_rules(f"{theirs}.gateway.gate", f"{ours}.gateway.gate")
    rules += both_rules(f"{theirs}.gateway.norm", f"{ours}.gateway.norm")
    rules += both_rules(f"{theirs}.linear{{n}}", f"{ours}.feedforward.linear{{n}}")
    rules += both_rules(f"{theirs}.norm3", f"{ours}.norm2")
    mlp = "layers.{n}"
    rules += both_rules(
        f"decoder.decoder.lqe_layers.{{layer}}.reg_conf.{mlp}", f"decoder.quality_heads.{{layer}}.mlp.{mlp}"
    )
    rules += both_rules(f"decoder.query_pos_head.{mlp}", f"decoder.position.{mlp}")
    rules += both_rules(f"decoder.pre_bbox_head.{mlp}", f"decoder.plain_box_head.{mlp}")
    rules += both_rules("decoder.dec_score_head.{layer}", "decoder.class_heads.{layer}")
    rules += both_rules(f"decoder.dec_bbox_head.{{layer}}.{mlp}", f"decoder.corner_heads.{{layer}}.{mlp}")
    # Both the transformer and the decoder within hold the same two numbers.
    return rules + [
        Rule(f"decoder.{name}", f"decoder.{name}", aliases=(f"decoder.decoder.{name}",)) for name in ("up", "reg_scale")
    ]


def _queries() -> list[Rule]:
    rules = both_rules("decoder.enc_output.proj", "queries.proj")
    rules += both_rules("decoder.enc_output.norm", "queries.norm")
    rules += both_rules("decoder.enc_score_head", "queries.class_head")
    rules += both_rules("decoder.enc_bbox_head.layers.{n}", "queries.box_head.layers.{n}")
    rules += [Rule("decoder.denoising_class_embed.weight", "denoising.labels.weight")]
    return rules + [Rule(f"decoder.{name}", op="drop", reason=_CONSTANT) for name in ("anchors", "valid_mask")]


DFINE_ORIGINAL = KeyMap(
    [
        *hgnetv2_rules(),
        *dfine_encoder_rules(),
        *conv_norm_rules("decoder.input_proj.{level}", "memory_proj.{level}"),
        *_queries(),
        *_decoder(),
    ],
    origin="Peterande/D-FINE",
)
"""A detector's keys."""
