"""Keys of Hugging Face's RT-DETR, versions 1 and 2, as the hub's files and as version 5 of its library spell them."""

from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule

Layout = Literal["hub", "v5"]

POINT_SCALE = "model.decoder.layers.{layer}.encoder_attn.n_points_scale"

_BOTH = ("weight", "bias")
_STATISTICS = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_FROZEN = "counts training batches; frozen batch norm has no use for it"
_SHARES = "a constant: one over the number of points"


class _Table:
    """Rules in the making; a name that the two layouts spell differently is written in the one's and read in both."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rules: list[Rule] = []

    def add(self, source: str, target: str, leaves: tuple[str, ...] = _BOTH, *, v5: str | None = None) -> None:
        """A rule for each leaf; ``v5`` is the spelling of version 5, where it is another."""
        first, *also = (source,) if v5 is None else (source, v5) if self.layout == "hub" else (v5, source)
        for leaf in leaves:
            others = tuple(f"{other}.{leaf}" for other in also)
            self.rules.append(Rule(f"{first}.{leaf}", f"{target}.{leaf}", also=others))

    def norm(self, source: str, target: str, *, frozen: bool = False) -> None:
        """Batch norm; published files may count batches even where it is frozen."""
        self.add(source, target, _STATISTICS if frozen else (*_STATISTICS, _COUNTER))
        if frozen:
            self.rules.append(Rule(f"{source}.{_COUNTER}", op="drop", reason=_FROZEN))

    def conv_norm(self, source: str, target: str, names: tuple[str, str] = ("conv", "norm")) -> None:
        """A convolution without bias and its norm."""
        self.add(f"{source}.{names[0]}", f"{target}.conv", ("weight",))
        self.norm(f"{source}.{names[1]}", f"{target}.norm")


def _backbone(table: _Table, *, frozen: bool) -> None:
    theirs, ours = "model.backbone.model", "backbone.body"

    def layer(source: str, conv: str, norm: str) -> None:
        table.add(f"{theirs}.{source}.convolution", f"{ours}.{conv}", ("weight",))
        table.norm(f"{theirs}.{source}.normalization", f"{ours}.{norm}", frozen=frozen)

    # Our stem is timm's: convolutions and norms at 0, 1, 3, 4 of a sequence, and the last norm outside of it.
    for n, (conv, norm) in enumerate((("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1"))):
        layer(f"embedder.embedder.{n}", conv, norm)
    for stage in range(4):
        block = f"encoder.stages.{stage}.layers.{{block}}"
        target = f"layer{stage + 1}.{{block}}"
        for n in (1, 2, 3):
            layer(f"{block}.layer.{n - 1}", f"{target}.conv{n}", f"{target}.bn{n}")
        # From the second stage on a pooling precedes the projection.
        layer(
            f"{block}.shortcut" if stage == 0 else f"{block}.shortcut.1",
            f"{target}.downsample.1",
            f"{target}.downsample.2",
        )


def _attention(table: _Table, source: str, target: str, v5: str) -> None:
    for name in ("q_proj", "k_proj", "v_proj"):
        table.add(f"{source}.self_attn.{name}", f"{target}.self_attention.{name}", v5=f"{v5}.self_attn.{name}")
    table.add(f"{source}.self_attn.out_proj", f"{target}.self_attention.out_proj", v5=f"{v5}.self_attn.o_proj")
    table.add(f"{source}.self_attn_layer_norm", f"{target}.norm1", v5=f"{v5}.self_attn_layer_norm")
    table.add(f"{source}.fc{{n}}", f"{target}.feedforward.linear{{n}}", v5=f"{v5}.mlp.fc{{n}}")


def _encoder(table: _Table) -> None:
    table.conv_norm("model.encoder_input_proj.{level}", "encoder.input_proj.{level}", ("0", "1"))
    source, target = "model.encoder.encoder.0.layers.{layer}", "encoder.intra_scale.layers.{layer}"
    v5 = "model.encoder.aifi.0.layers.{layer}"
    _attention(table, source, target, v5)
    table.add(f"{source}.final_layer_norm", f"{target}.norm2", v5=f"{v5}.final_layer_norm")
    table.conv_norm("model.encoder.lateral_convs.{step}", "encoder.laterals.{step}")
    table.conv_norm("model.encoder.downsample_convs.{step}", "encoder.downs.{step}")
    for theirs, ours in (("fpn_blocks", "top_down"), ("pan_blocks", "bottom_up")):
        source, target = f"model.encoder.{theirs}.{{step}}", f"encoder.{ours}.{{step}}"
        table.conv_norm(f"{source}.conv{{n}}", f"{target}.conv{{n}}")
        table.conv_norm(f"{source}.bottlenecks.{{block}}.conv{{n}}", f"{target}.blocks.{{block}}.conv{{n}}")


def _decoder(table: _Table) -> None:
    table.conv_norm("model.decoder_input_proj.{level}", "input_proj.{level}", ("0", "1"))
    table.add("model.enc_output.0", "queries.proj")
    table.add("model.enc_output.1", "queries.norm")
    table.add("model.enc_score_head", "queries.class_head")
    table.add("model.enc_bbox_head.layers.{n}", "queries.box_head.layers.{n}")
    table.rules.append(Rule("model.weight_embedding.weight", "queries.content"))
    table.add("model.denoising_class_embed", "denoising.labels", ("weight",))
    table.add("model.decoder.query_pos_head.layers.{n}", "decoder.position.layers.{n}")
    source, target = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    _attention(table, source, target, source)
    for theirs, ours in (
        ("sampling_offsets", "offsets"),
        ("attention_weights", "weights"),
        ("value_proj", "value_proj"),
        ("output_proj", "out_proj"),
    ):
        table.add(f"{source}.encoder_attn.{theirs}", f"{target}.cross_attention.{ours}")
    table.add(f"{source}.encoder_attn_layer_norm", f"{target}.norm2")
    table.add(f"{source}.final_layer_norm", f"{target}.norm3")
    table.rules.append(Rule(POINT_SCALE, op="drop", reason=_SHARES))
    # Files of version 4 of that library hold the heads a second time, under shorter names.
    for theirs, ours in (
        ("class_embed.{layer}", "class_heads.{layer}"),
        ("bbox_embed.{layer}.layers.{n}", "decoder.box_heads.{layer}.layers.{n}"),
    ):
        for leaf in _BOTH:
            rule = Rule(f"model.decoder.{theirs}.{leaf}", f"{ours}.{leaf}", aliases=(f"{theirs}.{leaf}",))
            table.rules.append(rule)


@cache
def rtdetr_huggingface(*, version: Literal[1, 2], frozen_norm: bool, layout: Layout = "hub") -> KeyMap:
    """The key map of one of Hugging Face's RT-DETRs. Each reads both layouts.

    Args:
        version: of RT-DETR; for messages, as the names are the same.
        frozen_norm: whether batch norm in the backbone is frozen.
        layout: the spelling that is written: as in the hub's files, which every version reads, or as version 5 names
            its modules.
    """
    table = _Table(layout)
    _backbone(table, frozen=frozen_norm)
    _encoder(table)
    _decoder(table)
    return KeyMap(table.rules, origin=f"Hugging Face's RTDetr{'V2' if version == 2 else ''}ForObjectDetection")
