"""Keys of Hugging Face's D-FINE and where they go, as the hub's files spell them and as version 5 of its library."""

from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule

Layout = Literal["hub", "v5"]

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_BOTH = ("weight", "bias")
_SHARES = "a constant: one over the number of points on each point's level"
_AGAIN = "the same head, which the decoder holds as well"


def _rules(sources: tuple[str, ...], target: str, leaves: tuple[str, ...] = _BOTH) -> list[Rule]:
    """A rule for each leaf; the first spelling is written, the others are read."""
    return [
        Rule(f"{sources[0]}.{leaf}", f"{target}.{leaf}", also=tuple(f"{source}.{leaf}" for source in sources[1:]))
        for leaf in leaves
    ]


def _conv_norm(conv: str, norm: str, target: str, target_norm: str = "norm") -> list[Rule]:
    return [*_rules((conv,), f"{target}.conv", ("weight",)), *_rules((norm,), f"{target}.{target_norm}", _NORM)]


def _backbone() -> list[Rule]:
    theirs, ours = "model.backbone.model", "backbone.body"
    block = "stages.{stage}.blocks.{block}"
    places = [(f"embedder.stem{n}", f"stem.stem{n}") for n in ("1", "2a", "2b", "3", "4")]
    inner = ["stages.{stage}.downsample", f"{block}.aggregation.{{n}}", f"{block}.layers.{{layer}}"]
    inner += [f"{block}.layers.{{layer}}.conv{{n}}"]
    places += [(f"encoder.{place}", place) for place in inner]
    rules: list[Rule] = []
    for source, target in places:
        source, target = f"{theirs}.{source}", f"{ours}.{target}"
        rules += _conv_norm(f"{source}.convolution", f"{source}.normalization", target, "bn")
        rules += _rules((f"{source}.lab",), f"{target}.lab", ("scale", "bias"))
    return rules


def _attention(sources: tuple[str, ...], target: str, layout: Layout) -> list[Rule]:
    """Projections of self-attention; only the last has two names."""
    rules: list[Rule] = []
    for name in ("q_proj", "k_proj", "v_proj"):
        rules += _rules(tuple(f"{source}.{name}" for source in sources), f"{target}.{name}")
    names = ("out_proj", "o_proj") if layout == "hub" else ("o_proj", "out_proj")
    return rules + _rules(tuple(f"{source}.{name}" for name in names for source in sources), f"{target}.out_proj")


def _feedforward(sources: tuple[str, ...], target: str, layout: Layout) -> list[Rule]:
    rules: list[Rule] = []
    for n in (1, 2):
        names = (f"fc{n}", f"mlp.layers.{n - 1}") if layout == "hub" else (f"mlp.layers.{n - 1}", f"fc{n}")
        spellings = tuple(f"{source}.{name}" for name in names for source in sources)
        rules += _rules(spellings, f"{target}.linear{n}")
    return rules


def _encoder(layout: Layout) -> list[Rule]:
    projection = "model.encoder_input_proj.{level}"
    rules = _conv_norm(f"{projection}.0", f"{projection}.1", "encoder.input_proj.{level}")
    stacks = ("encoder", "aifi") if layout == "hub" else ("aifi", "encoder")
    theirs = tuple(f"model.encoder.{stack}.0.layers.{{layer}}" for stack in stacks)
    ours = "encoder.intra_scale.layers.{layer}"
    rules += _attention(tuple(f"{layer}.self_attn" for layer in theirs), f"{ours}.self_attention", layout)
    rules += _feedforward(theirs, f"{ours}.feedforward", layout)
    for norm, name in (("norm1", "self_attn_layer_norm"), ("norm2", "final_layer_norm")):
        rules += _rules(tuple(f"{layer}.{name}" for layer in theirs), f"{ours}.{norm}")

    def plain(source: str, target: str) -> None:
        rules.extend(_conv_norm(f"{source}.conv", f"{source}.norm", target))

    plain("model.encoder.lateral_convs.{step}", "encoder.laterals.{step}")
    plain("model.encoder.downsample_convs.{step}.conv{n}", "encoder.downs.{step}.conv{n}")
    for name, target in (("fpn_blocks", "top_down"), ("pan_blocks", "bottom_up")):
        source, target = f"model.encoder.{name}.{{step}}", f"encoder.{target}.{{step}}"
        plain(f"{source}.conv1", f"{target}.conv1")
        for branch in (1, 2):
            csp = f"{source}.csp_rep{branch}"
            plain(f"{csp}.conv{{n}}", f"{target}.branch{branch}.0.conv{{n}}")
            plain(f"{csp}.bottlenecks.{{block}}.conv{{n}}", f"{target}.branch{branch}.0.blocks.{{block}}.conv{{n}}")
            plain(f"{source}.conv{branch + 1}", f"{target}.branch{branch}.1")
        plain(f"{source}.conv4", f"{target}.conv2")
    projection = "model.decoder_input_proj.{level}"
    return rules + _conv_norm(f"{projection}.0", f"{projection}.1", "memory_proj.{level}")


def _queries() -> list[Rule]:
    rules = _rules(("model.enc_output.0",), "queries.proj")
    rules += _rules(("model.enc_output.1",), "queries.norm")
    rules += _rules(("model.enc_score_head",), "queries.class_head")
    rules += _rules(("model.enc_bbox_head.layers.{n}",), "queries.box_head.layers.{n}")
    return rules + _rules(("model.denoising_class_embed",), "denoising.labels", ("weight",))


def _decoder(layout: Layout) -> list[Rule]:
    theirs, ours = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    rules = _attention((f"{theirs}.self_attn",), f"{ours}.self_attention", layout)
    rules += _feedforward((theirs,), f"{ours}.feedforward", layout)
    for name, target in (
        ("self_attn_layer_norm", "norm1"),
        ("final_layer_norm", "norm2"),
        ("encoder_attn.sampling_offsets", "cross_attention.offsets"),
        ("encoder_attn.attention_weights", "cross_attention.weights"),
        ("gateway.gate", "gateway.gate"),
        ("gateway.norm", "gateway.norm"),
    ):
        rules += _rules((f"{theirs}.{name}",), f"{ours}.{target}")
    rules.append(Rule(f"{theirs}.encoder_attn.num_points_scale", op="drop", reason=_SHARES))
    for name, target in (
        ("query_pos_head", "position"),
        ("pre_bbox_head", "plain_box_head"),
        ("lqe_layers.{layer}.reg_conf", "quality_heads.{layer}.mlp"),
    ):
        rules += _rules((f"model.decoder.{name}.layers.{{n}}",), f"decoder.{target}.layers.{{n}}")
    return rules + [Rule(f"model.decoder.{name}", f"decoder.{name}") for name in ("up", "reg_scale")]


def _heads(*, twice: bool) -> list[Rule]:
    rules: list[Rule] = []
    for name, target in (
        ("class_embed.{layer}", "decoder.class_heads.{layer}"),
        ("bbox_embed.{layer}.layers.{n}", "decoder.corner_heads.{layer}.layers.{n}"),
    ):
        rules += _rules((f"model.decoder.{name}",) if twice else (f"model.decoder.{name}", name), target)
        if twice:
            rules += [Rule(f"{name}.{leaf}", op="drop", reason=_AGAIN) for leaf in _BOTH]
    return rules


@cache
def dfine_huggingface(*, layout: Layout = "hub", twice: bool = False) -> KeyMap:
    """The key map of Hugging Face's D-FINE. Each reads both layouts.

    Args:
        layout: the spelling that is written: as in the hub's files, which every version reads, or as version 5 names
            its modules.
        twice: the file holds the heads under both of their names; else under either.
    """
    rules = [*_backbone(), *_encoder(layout), *_queries(), *_decoder(layout), *_heads(twice=twice)]
    return KeyMap(rules, origin="Hugging Face's DFineForObjectDetection")
