"""Keys of Hugging Face's DETR and where they go, as the hub's files spell them and as version 5 of its library does."""

from functools import cache
from typing import Literal

from sleuth.weights.keymap import KeyMap, Rule

Layout = Literal["hub", "v5"]
Backbone = Literal["timm", "resnet"]

_NORM = ("weight", "bias", "running_mean", "running_var")
_BOTH = ("weight", "bias")
_COUNTER = "counts training batches; frozen batch norm has no use for it"
_UNUSED = "the stage lies behind the feature map that is used"


class _Table:
    """Rules in the making: each name may be spelled in several ways, the first of which is written."""

    def __init__(self, layout: Layout, prefix: str) -> None:
        self.layout = layout
        self.prefix = prefix
        self.rules: list[Rule] = []

    def spell(self, hub: str, v5: str | None = None, *others: str) -> tuple[str, ...]:
        """Spellings of a key, the layout's own first."""
        both = (hub, v5 or hub) if self.layout == "hub" else (v5 or hub, hub)
        return tuple(dict.fromkeys((*both, *others)))

    def add(self, spellings: tuple[str, ...], target: str, leaves: tuple[str, ...] = _BOTH) -> None:
        """A rule for each leaf."""
        for leaf in leaves:
            first, *also = (f"{self.prefix}{at}.{leaf}" for at in spellings)
            self.rules.append(Rule(first, f"{target}.{leaf}", also=tuple(also)))

    def drop(self, spellings: tuple[str, ...], leaves: tuple[str, ...], reason: str) -> None:
        """A rule for each leaf that leads nowhere."""
        for leaf in leaves:
            first, *also = (f"{self.prefix}{at}.{leaf}" for at in spellings)
            self.rules.append(Rule(first, op="drop", reason=reason, also=tuple(also)))

    def convolution(self, conv: str, norm: str, target_conv: str, target_norm: str, *, used: bool) -> None:
        """A convolution of the backbone and its batch norm."""
        places = ("model.backbone.conv_encoder.model", "model.backbone.model")
        # A timm model behind Hugging Face's own backbone class is one level deeper.
        convs = self.spell(*(f"{place}.{conv}" for place in places), f"{places[0]}._backbone.{conv}")
        norms = self.spell(*(f"{place}.{norm}" for place in places), f"{places[0]}._backbone.{norm}")
        if used:
            self.add(convs, f"backbone.body.{target_conv}", ("weight",))
            self.add(norms, f"backbone.body.{target_norm}", _NORM)
        else:
            self.drop(convs, ("weight",), _UNUSED)
            self.drop(norms, _NORM, _UNUSED)
        self.drop(norms, ("num_batches_tracked",), _COUNTER)


def _timm(table: _Table, stages: int) -> None:
    table.convolution("conv1", "bn1", "conv1", "bn1", used=True)
    for stage in range(1, 5):
        block = f"layer{stage}.{{block}}"
        for conv, norm in (
            (f"{block}.conv{{n}}", f"{block}.bn{{n}}"),
            (f"{block}.downsample.0", f"{block}.downsample.1"),
        ):
            table.convolution(conv, norm, conv, norm, used=stage <= stages)


def _resnet(table: _Table, stages: int) -> None:
    def convolution(theirs: str, conv: str, norm: str, used: bool) -> None:
        table.convolution(f"{theirs}.convolution", f"{theirs}.normalization", conv, norm, used=used)

    convolution("embedder.embedder", "conv1", "bn1", True)
    for stage in range(1, 5):
        theirs, ours, used = f"encoder.stages.{stage - 1}.layers.{{block}}", f"layer{stage}.{{block}}", stage <= stages
        for n in (1, 2, 3):
            convolution(f"{theirs}.layer.{n - 1}", f"{ours}.conv{n}", f"{ours}.bn{n}", used)
        convolution(f"{theirs}.shortcut", f"{ours}.downsample.0", f"{ours}.downsample.1", used)


def _attention(table: _Table, theirs: str, ours: str) -> None:
    for name in ("q_proj", "k_proj", "v_proj"):
        table.add(table.spell(f"{theirs}.{name}"), f"{ours}.{name}")
    table.add(table.spell(f"{theirs}.out_proj", f"{theirs}.o_proj"), f"{ours}.out_proj")


def _transformer(table: _Table) -> None:
    for stack, last_norm in (("encoder", "norm2"), ("decoder", "norm3")):
        theirs, ours = f"model.{stack}.layers.{{layer}}", f"{stack}.layers.{{layer}}"
        _attention(table, f"{theirs}.self_attn", f"{ours}.self_attention")
        table.add(table.spell(f"{theirs}.self_attn_layer_norm"), f"{ours}.norm1")
        table.add(table.spell(f"{theirs}.fc{{n}}", f"{theirs}.mlp.fc{{n}}"), f"{ours}.feedforward.linear{{n}}")
        table.add(table.spell(f"{theirs}.final_layer_norm"), f"{ours}.{last_norm}")
    theirs, ours = "model.decoder.layers.{layer}", "decoder.layers.{layer}"
    _attention(table, f"{theirs}.encoder_attn", f"{ours}.cross_attention")
    table.add(table.spell(f"{theirs}.encoder_attn_layer_norm"), f"{ours}.norm2")
    table.add(table.spell("model.decoder.layernorm"), "decoder.norm")


def _positions(table: _Table) -> None:
    for theirs, ours in (("row_embeddings.weight", "row"), ("column_embeddings.weight", "column")):
        # Version 5 writes its own name in both layouts, and knows no other.
        name, old = f"model.position_embedding.{theirs}", f"model.backbone.position_embedding.{theirs}"
        table.rules.append(Rule(table.prefix + name, f"positions.{ours}", also=(table.prefix + old,)))


def _mask_head(table: _Table) -> None:
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
    table = _Table(layout, "detr." if masks else "")
    (_timm if backbone == "timm" else _resnet)(table, stages)
    table.add(table.spell("model.input_projection"), "input_proj")
    _positions(table)
    _transformer(table)
    table.rules.append(Rule(f"{table.prefix}model.query_position_embeddings.weight", "queries.weight"))
    table.add(table.spell("class_labels_classifier"), "class_head")
    table.add(table.spell("bbox_predictor.layers.{n}"), "box_head.mlp.layers.{n}")
    if masks:
        table.prefix = ""
        _mask_head(table)
    kind = "DetrForSegmentation" if masks else "DetrForObjectDetection"
    return KeyMap(table.rules, origin=f"Hugging Face's {kind}")
