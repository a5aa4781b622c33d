"""The data flow of any detector, part by part, as it was seen: a part is a child of the model."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from sleuth.explain.steps import TraceStep
from sleuth.explain.watch import Part, Watch, parameters_of, parameters_of_parts
from sleuth.models.detector import Detector
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction

_BACKBONE, _ENCODER, _QUERIES, _DECODER = "backbone", "encoder", "queries", "decoder"
_READERS = (_QUERIES, _DECODER, "class_tower", "box_tower")
"""Parts that read the memory: it is told of before the first of them."""


def part_steps(model: Detector, images: ImageBatch, watch: Watch) -> Iterator[TraceStep]:
    """Image, memory, queries, states and answers, and between them what each part gave out.

    Each parameter and each operation is counted once: an operation with the innermost part that was at work.
    """
    prediction = watch.prediction
    assert prediction is not None
    parameters = parameters_of_parts(model)
    order = [name for name in watch.parts if name] + [name for name in parameters if name not in watch.parts]
    heads = {name: _kind_of_head(name) for name in order}

    def step(what: str, name: str, shape: tuple[int, ...], about: str) -> TraceStep:
        return TraceStep(what, shape, name, about, parameters.get(name, 0), watch.parts.get(name, Part()).flops)

    height, width = images.pixels.shape[-2:]
    yield TraceStep("image", tuple(images.pixels.shape), about=f"normalised, {height} high, {width} wide")
    told_memory = False
    for name in order:
        if heads[name]:
            continue
        if name in _READERS and not told_memory:
            yield _memory(prediction)
            told_memory = True
            if _QUERIES not in order and prediction.points is None:
                yield _asking(watch.parts[name], prediction)
        if name == _BACKBONE:
            yield from _maps(watch, step)
        elif name == _QUERIES:
            shape, about = _given(watch.parts.get(name), prediction)
            yield step("queries", name, shape or _of_queries(prediction), about or "ask for an object each")
        elif name == _DECODER:
            yield step("decoder states", name, *_states(watch, prediction))
        else:
            shape, about = _given(watch.parts.get(name), prediction)
            yield step(name.replace("_", " "), name, shape, about if shape else "at work while training only")
    if not told_memory:
        yield _memory(prediction)
    count = len(prediction.logits)
    layer = f"layer {count}" if count > 1 else "the last layer" if prediction.points is None else "of every cell"
    one = "the last is no-object" if prediction.activation == "softmax" else "a score for each class"
    yield from _answer("class logits", prediction.logits[-1], f"{layer}; {one}", "class", heads, step)
    yield from _answer("boxes", prediction.boxes_cxcywh[-1], f"{layer}; cx cy w h, 0 to 1", "box", heads, step)
    if watch.masks is not None:
        yield from _answer("masks", watch.masks, "of every query", "mask", heads, step)
    flops, rest = watch.parts.get("", Part()).flops, parameters_of(model) - sum(parameters.values())
    if flops or rest:
        yield TraceStep(
            "elsewhere", (), about="of the model itself, outside of its parts", parameters=rest, flops=flops
        )


def part_details(model: Detector, watch: Watch) -> Mapping[str, list[TraceStep]]:
    """The blocks and layers within each part that ran, before the step of the part."""
    found: dict[str, list[TraceStep]] = {}
    for part, child in model.named_children():
        found[part] = [
            TraceStep(
                name.replace(".", " ").replace("_", " "),
                tuple(tensors[0].shape),
                name,
                type(module).__name__,
                parameters_of(module),
                watch.seen[name].flops,
                detail=True,
            )
            for name, module in _blocks(part, child)
            if (tensors := list(_tensors(watch.seen[name].output)))
        ]
    return found


def _blocks(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a part is made of; of lists, their members."""
    for own, child in part.named_children():
        if isinstance(child, nn.ModuleList):
            yield from _blocks(f"{name}.{own}", child)
        else:
            yield f"{name}.{own}", child


def _maps(watch: Watch, step: Any) -> Iterator[TraceStep]:
    """What other parts took from the backbone, fine to coarse; all of it belongs to the last."""
    part = watch.parts[_BACKBONE]
    made = {
        id(tensor)
        for name, seen in watch.seen.items()
        if name.split(".")[0] == _BACKBONE
        for tensor in _tensors(seen.output)
    }
    taken = [
        tensor
        for name, other in watch.parts.items()
        if name != _BACKBONE
        for tensor in _tensors(other.entered)
        if id(tensor) in made and tensor.dim() == 4
    ]
    assert watch.prediction is not None
    input_hw = watch.prediction.memory.input_hw
    shapes = list(dict.fromkeys(tuple(each.shape) for each in taken or _tensors(part.left[-1]) if each.dim() == 4))
    for at, shape in enumerate(shapes, start=1):
        about = f"{input_hw[0] / shape[-2]:.3g} pixels to a cell"
        if at == len(shapes):
            yield step("feature map", _BACKBONE, shape, about)
        else:
            yield TraceStep(f"feature map {at}", shape, _BACKBONE + f".{at}", about, detail=True)


def _memory(prediction: SetPrediction) -> TraceStep:
    grids = prediction.memory.grids_hw
    about = f"{len(grids)} levels, " + " and ".join(f"{height} x {width}" for height, width in grids)
    return TraceStep("memory", tuple(prediction.memory.tokens.shape), about=f"{about} cells as tokens")


def _asking(decoder: Part, prediction: SetPrediction) -> TraceStep:
    """The queries of a model that has no part for them, as they went into the decoder."""
    wanted = _of_queries(prediction)
    shape = next((tuple(each.shape) for each in _tensors(decoder.entered) if tuple(each.shape[:2]) == wanted), wanted)
    return TraceStep("queries", shape, about="ask for an object each")


def _states(watch: Watch, prediction: SetPrediction) -> tuple[tuple[int, ...], str]:
    """The states after all layers as the decoder gives them out, or else those that its last layer gave out."""
    wanted = (*_of_queries(prediction), prediction.memory.tokens.shape[-1])
    for tensor in _tensors(watch.parts[_DECODER].left):
        if tuple(tensor.shape[1:]) == wanted:
            return tuple(tensor.shape), f"after each of {tensor.shape[0]} layers"
        if tuple(tensor.shape) == wanted:
            return wanted, "after the last layer"
    within = [name for name in watch.seen if name.startswith(f"{_DECODER}.layers.")]
    for name in reversed(within):
        for tensor in _tensors(watch.seen[name].output):
            if tuple(tensor.shape[:2]) == wanted[:2]:
                return tuple(tensor.shape), "after the last layer"
    return wanted[:2], "not given out"


def _given(part: Part | None, prediction: SetPrediction) -> tuple[tuple[int, ...], str]:
    """The shape of what a part gave out, preferring a row for each query; empty for a part that did not run."""
    tensors = [] if part is None else list(_tensors(part.left))
    if not tensors:
        return (), ""
    rows = [each for each in tensors if tuple(each.shape[:2]) == _of_queries(prediction) and each.dim() == 3]
    shape = tuple((rows or tensors[-1:])[0].shape)
    return shape, "" if len(tensors) == 1 else f"one of {len(tensors)} tensors that it hands on"


def _answer(
    what: str, tensor: Tensor, about: str, kind: str, heads: Mapping[str, str], step: Any
) -> Iterator[TraceStep]:
    """An answer and the head that gave it, if that is a part of the model; a further head is told apart."""
    names = [name for name, found in heads.items() if found == kind]
    for name in names[:-1]:
        yield step(name.replace("_", " "), name, tuple(tensor.shape), about)
    if names:
        yield step(what, names[-1], tuple(tensor.shape), about)
    else:
        yield TraceStep(what, tuple(tensor.shape), about=about)


def _kind_of_head(name: str) -> str:
    """Class, box or mask for the heads that answer, or nothing."""
    words = name.split("_")
    return words[0] if len(words) == 2 and words[0] in ("class", "box", "mask") and words[1].startswith("head") else ""


def _of_queries(prediction: SetPrediction) -> tuple[int, int]:
    _, batch, queries, _ = prediction.logits.shape
    return batch, queries


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a value, however they are packed."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
