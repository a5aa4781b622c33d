"""Keys of timm's VisionTransformer and VisionTransformerDistilled."""

from sleuth.weights.keymap import KeyMap, Rule

_BOTH = ("weight", "bias")


def _rules() -> list[Rule]:
    rules = [
        Rule("cls_token", "backbone.class_token"),
        Rule("dist_token", "backbone.distill_token"),
        Rule("reg_token", "backbone.registers"),
        Rule("pos_embed", "backbone.positions.table"),
        Rule("blocks.{layer}.ls{n}.gamma", "backbone.blocks.{layer}.scale{n}.weight"),
    ]
    theirs, ours = "blocks.{layer}", "backbone.blocks.{layer}"
    for source, target in (
        ("patch_embed.proj", "backbone.patches"),
        (f"{theirs}.norm{{n}}", f"{ours}.norm{{n}}"),
        (f"{theirs}.attn.qkv", f"{ours}.attention.qkv"),
        (f"{theirs}.attn.proj", f"{ours}.attention.out_proj"),
        (f"{theirs}.mlp.fc{{n}}", f"{ours}.feedforward.linear{{n}}"),
        ("norm", "backbone.norm"),
        ("fc_norm", "pooling.norm"),
        ("head", "head"),
        ("head_dist", "distill_head"),
    ):
        rules += [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _BOTH]
    return rules


VIT_TIMM = KeyMap(_rules(), origin="timm's VisionTransformer")
"""Queries, keys and values are stacked on both sides, so every rule is an identity."""
