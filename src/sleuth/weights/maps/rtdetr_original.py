"""Keys of the original RT-DETR (lyuwenyu/RT-DETR), versions 1 and 2, and where they go."""

from dataclasses import replace
from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.rtdetr_parts import (
    both_rules,
    conv_norm_rules,
    encoder_layer_rules,
    resnet_d_rules,
    rtdetr_encoder_rules,
)

Version = Literal[1, 2]

CONSTANTS = ("decoder.anchors", "decoder.valid_mask")
POINT_SCALE = "decoder.decoder.layers.{layer}.cross_attn.num_points_scale"

_MADE = "a constant that follows from the picture's size; the model makes it when it needs it"
_SHARES = "a constant: one over the number of points on each point's level"


def _respelled(rules: list[Rule], version: Version, *changes: tuple[str, str]) -> list[Rule]:
    """Rules in the names of version 2, which accept those of version 1 as well, and write the version's own."""
    changed = []
    for rule in rules:
        old = rule.source
        for new_name, old_name in changes:
            old = old.replace(new_name, old_name)
        if old == rule.source:
            changed.append(rule)
        elif version == 1:
            changed.append(replace(rule, source=old, also=(rule.source,)))
        else:
            changed.append(replace(rule, also=(old,)))
    return changed


def _decoder(version: Version) -> list[Rule]:
    rules = conv_norm_rules("decoder.input_proj.{level}", "input_proj.{level}")
    rules += _respelled(
        [
            *both_rules("decoder.enc_output.proj", "queries.proj"),
            *both_rules("decoder.enc_output.norm", "queries.norm"),
        ],
        version,
        ("enc_output.proj", "enc_output.0"),
        ("enc_output.norm", "enc_output.1"),
    )
    rules += both_rules("decoder.enc_score_head", "queries.class_head")
    rules += both_rules("decoder.enc_bbox_head.layers.{n}", "queries.box_head.layers.{n}")
    rules.append(Rule("decoder.tgt_embed.weight", "queries.content"))
    rules.append(Rule("decoder.denoising_class_embed.weight", "denoising.labels.weight"))
    rules += both_rules("decoder.query_pos_head.layers.{n}", "decoder.position.layers.{n}")
    theirs, ours = "decoder.decoder.layers.{layer}", "decoder.layers.{layer}"
    rules += encoder_layer_rules(theirs, ours)
    for name, target in (
        ("sampling_offsets", "offsets"),
        ("attention_weights", "weights"),
        ("value_proj", "value_proj"),
        ("output_proj", "out_proj"),
    ):
        rules += both_rules(f"{theirs}.cross_attn.{name}", f"{ours}.cross_attention.{target}")
    rules += both_rules("decoder.dec_score_head.{layer}", "class_heads.{layer}")
    rules += both_rules("decoder.dec_bbox_head.{layer}.layers.{n}", "decoder.box_heads.{layer}.layers.{n}")
    rules += [Rule(name, op="drop", reason=_MADE) for name in CONSTANTS]
    return [*rules, Rule(POINT_SCALE, op="drop", reason=_SHARES)]


@cache
def rtdetr_original(version: Version = 2) -> KeyMap:
    """The key map of the original. Either reads both versions.

    Args:
        version: whose names are written.
    """
    encoder = _respelled(
        rtdetr_encoder_rules(),
        version,
        ("encoder.input_proj.{level}.conv.", "encoder.input_proj.{level}.0."),
        ("encoder.input_proj.{level}.norm.", "encoder.input_proj.{level}.1."),
    )
    return KeyMap([*resnet_d_rules(), *encoder, *_decoder(version)], origin="lyuwenyu/RT-DETR")
