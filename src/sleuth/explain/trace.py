"""The data flow of a model, measured while it runs: the shape at each step, parameters and FLOPs of each part.

Nothing here is computed from a config: hooks see the tensors pass, and PyTorch's counter sees the operations.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sleuth.models.detector import Detector
from sleuth.models.detr import Detr
from sleuth.nn.attention import MultiHeadAttention, explicit_attention
from sleuth.types import ImageBatch, Queries, SetPrediction

FLOPS_NOTE = (
    "FLOPs of matrix products, convolutions and attention; a multiply-add is two (papers often count it as one)."
)


@dataclass(frozen=True)
class TraceStep:
    """One tensor on its way, and the part of the model that made it.

    Args:
        name: what the tensor is.
        shape: its sizes.
        module: qualified name of the part; empty where none made it.
        about: what happens here, in a few words.
        parameters: of the part; shared ones count where they are first used.
        flops: of the part in this run.
        detail: True for a part of the step below.
    """

    name: str
    shape: tuple[int, ...]
    module: str = ""
    about: str = ""
    parameters: int = 0
    flops: int = 0
    detail: bool = False


@dataclass(frozen=True)
class Trace:
    """The steps of one run.

    Args:
        model: what was traced.
        steps: in the order of the data flow; details stand before the step that they are parts of.
        parameters: of the whole model.
        flops: of the whole run.
    """

    model: str
    steps: tuple[TraceStep, ...]
    parameters: int
    flops: int

    def __getitem__(self, name: str) -> TraceStep:
        """The step of a name.

        Raises:
            KeyError: there is none; the message lists them all.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; there are {[step.name for step in self.steps]}")

    def __str__(self) -> str:
        return self.render()

    def to_json(self) -> dict[str, Any]:
        """The trace as plain values."""
        steps = [asdict(step) | {"shape": list(step.shape)} for step in self.steps]
        return {
            "model": self.model,
            "parameters": self.parameters,
            "flops": self.flops,
            "note": FLOPS_NOTE,
            "steps": steps,
        }

    def render(self) -> str:
        """The trace as a table of text."""
        rows = [("step", "shape", "parameters", "GFLOPs", "what happens")]
        rows += [
            (
                f"{'  ' if step.detail else ''}{step.name}",
                shape_text(step.shape),
                f"{step.parameters:,}" if step.parameters else "",
                f"{step.flops / 1e9:.3f}" if step.flops else "",
                step.about,
            )
            for step in self.steps
        ]
        rows.append(("total", "", f"{self.parameters:,}", f"{self.flops / 1e9:.3f}", self.model))
        a, b, c, d = (max(len(row[column]) for row in rows) for column in range(4))
        lines = [f"{row[0]:<{a}}  {row[1]:<{b}}  {row[2]:>{c}}  {row[3]:>{d}}  {row[4]}".rstrip() for row in rows]
        rule = "-" * max(len(line) for line in lines)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], FLOPS_NOTE])


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as it is written in the field.

    >>> shape_text((1, 3, 800, 600))
    '[1,3,800,600]'
    """
    return f"[{','.join(str(size) for size in shape)}]"


@dataclass
class _Seen:
    """What the hooks saw of one part."""

    inputs: tuple[Any, ...] = ()
    output: Any = None
    flops: int = 0
    started_at: int = 0


@dataclass
class _Watch:
    """All parts under watch, by qualified name."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    prediction: SetPrediction | None = None
    masks: Tensor | None = None
    mask_flops: int = 0
    total_flops: int = 0


def trace_model(model: Detector, images: ImageBatch, *, layers: bool = False, name: str = "") -> Trace:
    """Run a DETR once and tell what passed where.

    Args:
        model: left as it is; it runs in evaluation mode.
        images: what to run it on.
        layers: tell of the stages of the backbone and of every encoder and decoder layer as well.
        name: what to call the model.
    """
    assert isinstance(model, Detr)
    watch = _run(model, images)
    details = _details(model, watch) if layers else {}
    steps: list[TraceStep] = []
    for step in _steps(model, images, watch):
        steps += details.get(step.module, [])
        steps.append(step)
    return Trace(name or type(model).__name__, tuple(steps), _parameters(model), watch.total_flops)


def _steps(model: Detr, images: ImageBatch, watch: _Watch) -> Iterator[TraceStep]:
    """The data flow of DETR. Each shape is that of a tensor that was seen."""
    prediction, seen = watch.prediction, watch.seen
    assert prediction is not None
    queries = seen["queries"].output
    assert isinstance(queries, Queries)
    count = len(prediction.logits)
    height, width = images.pixels.shape[-2:]
    grid = seen["backbone"].output.shape[-2:]

    def step(name: str, tensor: Tensor, module: str, about: str) -> TraceStep:
        part = model.get_submodule(module)
        return TraceStep(name, tuple(tensor.shape), module, about, _parameters(part), seen[module].flops)

    # Hooks on the encoder see what goes in: the sequence, and the positions that come along in each layer.
    sequence, positions = seen["encoder"].inputs[:2]
    yield TraceStep("image", tuple(images.pixels.shape), about=f"normalised, {height} high, {width} wide")
    yield step("feature map", seen["backbone"].output, "backbone", f"{height / grid[0]:.3g} pixels to a cell")
    yield step("projection", seen["input_proj"].output, "input_proj", "1x1 convolution")
    yield TraceStep("sequence", tuple(sequence.shape), about=f"{grid[0]} x {grid[1]} cells as tokens")
    yield step("positions", positions, "positions", "added to queries and keys")
    yield step("memory", seen["encoder"].output, "encoder", "tokens that have seen each other")
    yield step("queries", queries.pos, "queries", "learned: an object or nothing each")
    yield step("decoder states", seen["decoder"].output, "decoder", f"after each of {count} layers")
    logits = f"layer {count}; the last is no-object"
    yield step("class logits", prediction.logits[-1], "class_head", logits)
    boxes = f"layer {count}; cx cy w h, 0 to 1"
    yield step("boxes", prediction.boxes_cxcywh[-1], "box_head", boxes)
    if watch.masks is not None:
        maps = seen["mask_head.attention"].output.unflatten(-1, grid)
        yield replace(
            step("mask attention", maps, "mask_head.attention", "one softmax over heads and cells"), detail=True
        )
        masks = step("masks", watch.masks, "mask_head", "of every query; at work, of those above the threshold")
        yield replace(masks, flops=watch.mask_flops)


def _details(model: Detr, watch: _Watch) -> Mapping[str, list[TraceStep]]:
    """The finer steps within backbone, encoder and decoder."""

    def step(module: str, name: str, about: str = "") -> TraceStep:
        seen = watch.seen[module]
        parameters = _parameters(model.get_submodule(module))
        return TraceStep(name, tuple(seen.output.shape), module, about, parameters, seen.flops, detail=True)

    body = "backbone.body"
    stages = [f"{body}.layer{number}" for number in range(1, model.backbone.num_stages + 1)]
    found = {
        "backbone": [step(f"{body}.conv1", "stem", "7x7 convolution, stride 2")]
        + [step(module, f"stage {number}") for number, module in enumerate(stages, start=1)]
    }
    for part, about in (
        ("encoder", "self-attention, feed-forward"),
        ("decoder", "self-, cross-attention, feed-forward"),
    ):
        count = len(model.get_submodule(f"{part}.layers"))  # type: ignore[arg-type]
        found[part] = [step(f"{part}.layers.{row}", f"{part} layer {row + 1}", about) for row in range(count)]
    return found


@torch.no_grad()
def _run(model: Detector, images: ImageBatch) -> _Watch:
    """One run under watch, in evaluation mode."""
    watch, modes = _Watch(), {part: part.training for part in model.modules()}
    model.eval()
    try:
        counter = FlopCounterMode(display=False)
        with _explicit_cores(model), counter, _watching(model, watch, counter.get_total_flops):
            watch.prediction = model(images)
            before = counter.get_total_flops()
            watch.masks = _every_mask(watch.prediction)
            watch.mask_flops = counter.get_total_flops() - before
        watch.total_flops = counter.get_total_flops()
    finally:
        for part, training in modes.items():
            part.training = training
    return watch


def _every_mask(prediction: SetPrediction) -> Tensor | None:
    """The masks of every query, [batch, queries, height, width], or None for a model without a mask head."""
    if prediction.masks is None:
        return None
    batch, queries = prediction.logits.shape[1:3]
    every = torch.arange(queries).repeat(batch), torch.arange(batch).repeat_interleave(queries)
    return prediction.masks(every[1], every[0]).unflatten(0, (batch, queries))


@contextmanager
def _watching(model: nn.Module, watch: _Watch, flops: Callable[[], int]) -> Iterator[None]:
    """Note inputs, output and FLOPs of every part while the block runs."""
    handles = []

    def before(seen: _Seen) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen.inputs, seen.started_at = args, flops()

        return hook

    def after(seen: _Seen) -> Callable[..., None]:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            seen.output = output
            seen.flops += flops() - seen.started_at

        return hook

    try:
        for name, part in model.named_modules():
            if name:
                seen = watch.seen.setdefault(name, _Seen())
                handles += [part.register_forward_pre_hook(before(seen)), part.register_forward_hook(after(seen))]
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _explicit_cores(model: nn.Module) -> Iterator[None]:
    """Attention written out while the block runs: not every fused kernel is counted, its two products are."""
    attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    cores = [attention.core for attention in attentions]
    try:
        for attention in attentions:
            attention.core = explicit_attention
        yield
    finally:
        for attention, core in zip(attentions, cores, strict=True):
            attention.core = core


def _parameters(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
