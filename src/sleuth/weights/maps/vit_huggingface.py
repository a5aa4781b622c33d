"""Keys of Hugging Face's ViT, DeiT and DINOv2, as the hub's files and as version 5 of its library spell them."""

from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule

Layout = Literal["hub", "v5"]
Kind = Literal["vit", "deit", "dinov2", "dinov2_with_registers"]
"""The ``model_type`` of its config.json."""

MASK_TOKEN = "embeddings.mask_token"

_BOTH = ("weight", "bias")
_MASK = "stands for patches that are hidden while pre-training"


def layout_of(keys: frozenset[str]) -> Layout:
    """Which spelling a state dict has; version 5 names projections after what they project to."""
    return "v5" if any(".attention.q_proj." in key for key in keys) else "hub"


@cache
def vit_huggingface(
    *, kind: Kind, headed: bool, teacher: bool = False, gated: bool = False, layout: Layout = "hub"
) -> KeyMap:
    """The key map of one of Hugging Face's vision Transformers.

    Args:
        kind: which of them.
        headed: a classifier, whose backbone has a name of its own; False for the backbone alone.
        teacher: a DeiT with a head for the distillation token, too.
        gated: feed-forward networks are gated, as in DINOv2's giant.
        layout: the spelling.
    """
    base = f"{kind}." if headed else ""
    rules = [
        Rule(f"{base}embeddings.cls_token", "backbone.class_token"),
        Rule(f"{base}embeddings.distillation_token", "backbone.distill_token"),
        Rule(f"{base}embeddings.register_tokens", "backbone.registers"),
        Rule(f"{base}embeddings.position_embeddings", "backbone.positions.table"),
        Rule(f"{base}{MASK_TOKEN}", op="drop", reason=_MASK),
    ]

    def both(source: str, target: str, *parts: str) -> None:
        """A rule for the weight and one for the bias; with parts, both are stacks of them."""
        for leaf in _BOTH:
            if parts:
                rules.append(Rule(f"{source}.{leaf}", f"{target}.{leaf}", op="stack", parts=parts))
            else:
                rules.append(Rule(f"{source}.{leaf}", f"{target}.{leaf}"))

    both(f"{base}embeddings.patch_embeddings.projection", "backbone.patches")
    both(f"{base}layernorm", "backbone.norm")
    both(f"{base}pooler.dense", "pooling.projection")
    both("distillation_classifier", "distill_head")
    both("cls_classifier" if teacher else "classifier", "head")
    dino = kind.startswith("dinov2")
    layer = f"{base}layers.{{layer}}" if layout == "v5" and not dino else f"{base}encoder.layer.{{layer}}"
    ours = "backbone.blocks.{layer}"
    if layout == "v5":
        both(f"{layer}.attention.{{part}}", f"{ours}.attention.qkv", "q_proj", "k_proj", "v_proj")
        both(f"{layer}.attention.o_proj", f"{ours}.attention.out_proj")
    else:
        both(f"{layer}.attention.attention.{{part}}", f"{ours}.attention.qkv", "query", "key", "value")
        both(f"{layer}.attention.output.dense", f"{ours}.attention.out_proj")
    if dino:
        both(f"{layer}.norm{{n}}", f"{ours}.norm{{n}}")
        rules.append(Rule(f"{layer}.layer_scale{{n}}.lambda1", f"{ours}.scale{{n}}.weight"))
        if not gated:
            both(f"{layer}.mlp.fc{{n}}", f"{ours}.feedforward.linear{{n}}")
        elif layout == "v5":
            both(f"{layer}.mlp.{{part}}", f"{ours}.feedforward.linear1", "gate_proj", "up_proj")
            both(f"{layer}.mlp.down_proj", f"{ours}.feedforward.linear2")
        else:
            both(f"{layer}.mlp.weights_in", f"{ours}.feedforward.linear1")
            both(f"{layer}.mlp.weights_out", f"{ours}.feedforward.linear2")
        return KeyMap(rules, origin=f"Hugging Face's {kind}")
    both(f"{layer}.layernorm_before", f"{ours}.norm1")
    both(f"{layer}.layernorm_after", f"{ours}.norm2")
    for number, name in ((1, "intermediate.dense"), (2, "output.dense")):
        both(f"{layer}.{name if layout == 'hub' else f'mlp.fc{number}'}", f"{ours}.feedforward.linear{number}")
    return KeyMap(rules, origin=f"Hugging Face's {kind}")
