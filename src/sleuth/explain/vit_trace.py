"""The data flow of a vision Transformer: patches, tokens, positions, every block, and the answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from sleuth.explain.steps import Trace, TraceStep
from sleuth.explain.watch import Watch, parameters_of, watched
from sleuth.models.vit import VisionTransformer
from sleuth.nn.attention import Attention, AttentionCore
from sleuth.nn.patches import padded_to_patches, unfolded
from sleuth.types import ClassPrediction, ImageBatch, TokenGrid

_Shape = tuple[int, ...]
_POOLED = {
    "class": "the class token",
    "mean": "the mean of the patches",
    "class+mean": "the class token and the mean of the patches",
}


@dataclass(frozen=True)
class _Looked:
    """The shapes of one run of an attention: queries, keys and values of all heads."""

    q: _Shape
    k: _Shape
    v: _Shape


class _Onlooker:
    """Stands before a core and notes what goes in."""

    def __init__(self, core: AttentionCore, name: str, seen: dict[str, _Looked]) -> None:
        self.core, self.name, self.seen = core, name, seen

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, dropout: float) -> Tensor:
        self.seen[self.name] = _Looked(tuple(q.shape), tuple(k.shape), tuple(v.shape))
        return self.core(q, k, v, attend, dropout)

    def on(self, grid: TokenGrid) -> "_Onlooker":
        """The same on a grid, for cores that ask for one."""
        return _Onlooker(self.core.on(grid), self.name, self.seen)  # type: ignore[attr-defined]


def trace_vit(model: VisionTransformer, images: ImageBatch, *, layers: bool = False, name: str = "") -> Trace:
    """Run a classifier once and tell what passed where; the first block is told in full.

    Args:
        model: left as it is; it runs in evaluation mode.
        images: what to run it on.
        layers: tell of every block in full.
        name: what to call the model.

    Raises:
        UserError: a picture is smaller than a patch.
    """
    with watched(model) as watch, _onlooking(model) as looked:
        prediction: ClassPrediction = model(images)
    steps = tuple(_steps(model, images, watch, looked, prediction, layers=layers))
    return Trace(name or type(model).__name__, steps, parameters_of(model), watch.total_flops)


@contextmanager
def _onlooking(model: nn.Module) -> Iterator[dict[str, _Looked]]:
    """Note the shapes in every attention while the block runs."""
    seen: dict[str, _Looked] = {}
    cores = {name: (module, module.core) for name, module in model.named_modules() if isinstance(module, Attention)}
    try:
        for name, (module, core) in cores.items():
            module.core = _Onlooker(core, name, seen)
        yield seen
    finally:
        for module, core in cores.values():
            module.core = core


def _steps(
    model: VisionTransformer,
    images: ImageBatch,
    watch: Watch,
    looked: dict[str, _Looked],
    prediction: ClassPrediction,
    *,
    layers: bool,
) -> Iterator[TraceStep]:
    backbone, seen = model.backbone, watch.seen

    def step(what: str, tensor: Tensor, module: str, about: str = "") -> TraceStep:
        parameters = parameters_of(model.get_submodule(module))
        return TraceStep(what, tuple(tensor.shape), module, about, parameters, seen[module].flops)

    side = backbone.patch_size
    height, width = images.pixels.shape[-2:]
    whole = padded_to_patches(images.pixels, side)
    rows, columns = (length // side for length in whole.shape[-2:])
    padded = "" if whole.shape == images.pixels.shape else f", padded to {whole.shape[-2]} x {whole.shape[-1]}"
    yield TraceStep("image", tuple(images.pixels.shape), about=f"normalised, {height} high, {width} wide{padded}")
    about = f"{rows} x {columns} of {side} x {side} pixels, unfolded"
    yield TraceStep("patches", tuple(unfolded(whole, side).shape), about=about)
    yield step("tokens", seen["backbone.patches"].output, "backbone.patches", "one matrix for all patches")
    places = "a vector for each cell, for the picture's grid" if parameters_of(backbone.positions) else "not learned"
    yield step("positions", seen["backbone.positions"].output, "backbone.positions", places)
    own = sum(parameter.numel() for parameter in backbone.parameters(recurse=False))
    before = f"tokens in front of the patches: {backbone.num_prefix}"
    sequence = seen["backbone.blocks.0"].inputs[0]
    yield TraceStep("sequence", tuple(sequence.shape), "backbone", f"{before}; positions added", own)
    for number, _ in enumerate(backbone.blocks):
        block = f"backbone.blocks.{number}"
        if layers or not number:
            yield from _block(model, block, watch, looked)
        tokens = seen[block].output
        alone = "" if tokens.shape[1] == sequence.shape[1] else "; of the tokens alone that are read"
        yield step(f"block {number + 1}", tokens, block, f"attention, feed-forward{alone}")
    yield step("states", seen["backbone.norm"].output, "backbone.norm", "normalised")
    yield step("pooled", seen["pooling"].output, "pooling", _POOLED[model.pooling.pool])
    if prediction.by_head:
        yield step("head's logits", prediction.by_head[0], "head", "of the class token")
        yield step("distilled logits", prediction.by_head[1], "distill_head", "of the distillation token")
        yield TraceStep("logits", tuple(prediction.logits.shape), about="the mean of both heads")
    else:
        yield step("logits", prediction.logits, "head", "a class each")


def _block(model: VisionTransformer, block: str, watch: Watch, looked: dict[str, _Looked]) -> Iterator[TraceStep]:
    """Everything within one block, in its order."""
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
