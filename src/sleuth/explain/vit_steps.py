"""The data flow of a vision Transformer's backbone: patches, tokens, positions, and every block."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from sleuth.backbones.vit import VitBackbone
from sleuth.explain.steps import TraceStep
from sleuth.explain.watch import Watch, parameters_of
from sleuth.nn.attention import Attention, AttentionCore
from sleuth.nn.patches import padded_to_patches, unfolded
from sleuth.nn.stem import ConvolutionalStem
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import TokenGrid

_Shape = tuple[int, ...]


@dataclass(frozen=True)
class Looked:
    """The shapes of one run of an attention: queries, keys and values of all heads."""

    q: _Shape
    k: _Shape
    v: _Shape


class _Onlooker:
    """Stands before a core and notes what goes in."""

    def __init__(self, core: AttentionCore, name: str, seen: dict[str, Looked]) -> None:
        self.core, self.name, self.seen = core, name, seen

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, dropout: float) -> Tensor:
        self.seen[self.name] = Looked(tuple(q.shape), tuple(k.shape), tuple(v.shape))
        return self.core(q, k, v, attend, dropout)

    def on(self, grid: TokenGrid) -> "_Onlooker":
        """The same on a grid, for cores that ask for one."""
        return _Onlooker(self.core.on(grid), self.name, self.seen)  # type: ignore[attr-defined]


@contextmanager
def onlooking(model: nn.Module) -> Iterator[dict[str, Looked]]:
    """Note the shapes in every attention while the block runs, by its qualified name."""
    seen: dict[str, Looked] = {}
    cores = {name: (module, module.core) for name, module in model.named_modules() if isinstance(module, Attention)}
    try:
        for name, (module, core) in cores.items():
            module.core = _Onlooker(core, name, seen)
        yield seen
    finally:
        for module, core in cores.values():
            module.core = core


def backbone_steps(
    model: nn.Module, images: ImageBatch, watch: Watch, looked: Mapping[str, Looked], *, layers: bool
) -> Iterator[TraceStep]:
    """From the picture to the normalised states of all tokens; the first block is told in full.

    Args:
        model: that ran; its ``backbone`` is told of.
        images: what it ran on.
        watch: over its run.
        looked: what its attentions saw.
        layers: tell of every block in full.
    """
    backbone, seen = model.get_submodule("backbone"), watch.seen
    assert isinstance(backbone, VitBackbone)
    side = backbone.patch_size
    height, width = images.pixels.shape[-2:]
    whole = padded_to_patches(images.pixels, side)
    padded = "" if whole.shape == images.pixels.shape else f", padded to {whole.shape[-2]} x {whole.shape[-1]}"
    yield TraceStep("image", tuple(images.pixels.shape), about=f"normalised, {height} high, {width} wide{padded}")
    yield from _embedding(model, backbone, whole, watch)
    places = "a vector for each cell, for the picture's grid" if parameters_of(backbone.positions) else "not learned"
    yield step_of(model, watch, "positions", "backbone.positions", places)
    own = sum(parameter.numel() for parameter in backbone.parameters(recurse=False))
    before = f"tokens in front of the patches: {backbone.num_prefix}"
    sequence = seen["backbone.blocks.0"].inputs[0]
    yield TraceStep("sequence", tuple(sequence.shape), "backbone", f"{before}; positions added", own)
    for number, _ in enumerate(backbone.blocks):
        block = f"backbone.blocks.{number}"
        if layers or not number:
            yield from block_steps(model, block, watch, looked)
        alone = "" if seen[block].output.shape[1] == sequence.shape[1] else "; of the tokens alone that are read"
        yield step_of(model, watch, f"block {number + 1}", block, f"attention, feed-forward{alone}")
    yield step_of(model, watch, "states", "backbone.norm", "normalised")


def step_of(model: nn.Module, watch: Watch, what: str, module: str, about: str = "") -> TraceStep:
    """The step of a module that gave out one tensor."""
    parameters, seen = parameters_of(model.get_submodule(module)), watch.seen[module]
    return TraceStep(what, tuple(seen.output.shape), module, about, parameters, seen.flops)


def _embedding(model: nn.Module, backbone: VitBackbone, whole: Tensor, watch: Watch) -> Iterator[TraceStep]:
    """From pixels to tokens, by one matrix or by convolutions."""
    name, side = "backbone.patches", backbone.patch_size
    rows, columns = (length // side for length in whole.shape[-2:])
    if not isinstance(backbone.patches, ConvolutionalStem):
        about = f"{rows} x {columns} of {side} x {side} pixels, unfolded"
        yield TraceStep("patches", tuple(unfolded(whole, side).shape), about=about)
        yield step_of(model, watch, "tokens", name, "one matrix for all patches")
        return
    layers = backbone.patches.layers
    places = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    for number, (place, after) in enumerate(zip(places, [*places[1:], len(layers)], strict=True), start=1):
        seen, of = watch.seen[f"{name}.layers.{place}"], f"{name}.layers.{place}"
        parameters = sum(parameters_of(layer) for layer in layers[place:after])
        about = "with its batch norm" if after - place > 1 else "of 1 x 1"
        yield TraceStep(f"convolution {number}", tuple(seen.output.shape), of, about, parameters, seen.flops, True)
    yield step_of(model, watch, "tokens", name, f"by convolutions; {rows} x {columns} cells of {side} x {side} pixels")


def block_steps(model: nn.Module, block: str, watch: Watch, looked: Mapping[str, Looked]) -> Iterator[TraceStep]:
    """Everything within one block, in its order.

    Args:
        model: that ran.
        block: qualified name of a `PreNormBlock`.
        watch: over its run.
        looked: what its attentions saw.
    """
    seen = watch.seen

    def step(what: str, module: str, about: str = "", shape: _Shape | None = None) -> TraceStep:
        part, told = model.get_submodule(f"{block}.{module}"), seen[f"{block}.{module}"]
        return TraceStep(
            what,
            tuple(told.output.shape) if shape is None else shape,
            f"{block}.{module}",
            about,
            parameters_of(part),
            told.flops,
            detail=True,
        )

    yield step("norm 1", "norm1")
    (name,) = (each for each in looked if each.startswith(f"{block}."))
    of, own = looked[name], name.removeprefix(f"{block}.")
    one = f"{name}.qkv" in seen
    if own != "attention":  # keys and values of fewer tokens, where something made them so
        fewer = tuple(seen[f"{block}.attention.reduction"].output[0].shape)
        yield step("reduced", "attention.reduction", "squares of patches, for keys and values", fewer)
    yield step("q", f"{own}.{'qkv' if one else 'q_proj'}", "heads, tokens, channels: what each token asks", of.q)
    if one:
        yield TraceStep("k", of.k, about="what it is found by; of the same product", detail=True)
        yield TraceStep("v", of.v, about="what it hands on; of the same product", detail=True)
    else:
        yield step("k", f"{own}.k_proj", "what is found", of.k)
        yield step("v", f"{own}.v_proj", "what is handed on", of.v)
    core = model.get_submodule(name).core
    kind = getattr(core, "__name__", type(core).__name__).replace("fused_attention", "softmax")
    made = sum(seen[f"{name}.{each}"].flops for each in (("qkv",) if one else ("q_proj", "k_proj", "v_proj")))
    made += seen[f"{name}.out_proj"].flops
    about = f"heads, tokens, tokens looked at: {kind}"
    yield TraceStep("attention", (*of.q[:3], of.k[2]), name, about, 0, seen[name].flops - made, detail=True)
    yield step("attended", f"{own}.out_proj", "values weighed by attention, heads joined")
    yield step("norm 2", "norm2")
    yield step("hidden", "feedforward.linear1", "each token on its own")
    yield step("feed-forward", "feedforward.linear2")
