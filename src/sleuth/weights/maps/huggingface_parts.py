"""Rules that the key maps of Hugging Face's DETR and its descendants share."""

from typing import Literal

from sleuth.weights.keymap import Rule

Layout = Literal["hub", "v5"]
Backbone = Literal["timm", "resnet"]

_NORM = ("weight", "bias", "running_mean", "running_var")
BOTH = ("weight", "bias")
_COUNTER = "counts training batches; frozen batch norm has no use for it"
_UNUSED = "the stage lies behind the feature map that is used"


class Table:
    """Rules in the making: each name may be spelled in several ways, the first of which is written."""

    def __init__(self, layout: Layout, prefix: str) -> None:
        self.layout = layout
        self.prefix = prefix
        self.rules: list[Rule] = []

    def spell(self, hub: str, v5: str | None = None, *others: str) -> tuple[str, ...]:
        """Spellings of a key, the layout's own first."""
        both = (hub, v5 or hub) if self.layout == "hub" else (v5 or hub, hub)
        return tuple(dict.fromkeys((*both, *others)))

    def add(self, spellings: tuple[str, ...], target: str, leaves: tuple[str, ...] = BOTH) -> None:
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


def add_backbone(table: Table, kind: Backbone, stages: int) -> None:
    """Timm's ResNet, or Hugging Face's own, of which the first stages are used."""
    (_timm if kind == "timm" else _resnet)(table, stages)


def _timm(table: Table, stages: int) -> None:
    table.convolution("conv1", "bn1", "conv1", "bn1", used=True)
    for stage in range(1, 5):
        block = f"layer{stage}.{{block}}"
        for conv, norm in (
            (f"{block}.conv{{n}}", f"{block}.bn{{n}}"),
            (f"{block}.downsample.0", f"{block}.downsample.1"),
        ):
            table.convolution(conv, norm, conv, norm, used=stage <= stages)


def _resnet(table: Table, stages: int) -> None:
    def convolution(theirs: str, conv: str, norm: str, used: bool) -> None:
        table.convolution(f"{theirs}.convolution", f"{theirs}.normalization", conv, norm, used=used)

    convolution("embedder.embedder", "conv1", "bn1", True)
    for stage in range(1, 5):
        theirs, ours, used = f"encoder.stages.{stage - 1}.layers.{{block}}", f"layer{stage}.{{block}}", stage <= stages
        for n in (1, 2, 3):
            convolution(f"{theirs}.layer.{n - 1}", f"{ours}.conv{n}", f"{ours}.bn{n}", used)
        convolution(f"{theirs}.shortcut", f"{ours}.downsample.0", f"{ours}.downsample.1", used)


def dense_attention(table: Table, theirs: str, ours: str) -> None:
    """Attention, whose output has another name in version 5."""
    for name in ("q_proj", "k_proj", "v_proj"):
        table.add(table.spell(f"{theirs}.{name}"), f"{ours}.{name}")
    table.add(table.spell(f"{theirs}.out_proj", f"{theirs}.o_proj"), f"{ours}.out_proj")


def learned_positions(table: Table) -> None:
    """Learned positions of rows and columns."""
    for theirs, ours in (("row_embeddings.weight", "row"), ("column_embeddings.weight", "column")):
        # Version 5 writes its own name in both layouts, and knows no other.
        name, old = f"model.position_embedding.{theirs}", f"model.backbone.position_embedding.{theirs}"
        table.rules.append(Rule(table.prefix + name, f"positions.{ours}", also=(table.prefix + old,)))
