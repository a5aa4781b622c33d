"""The data flow of DETR, noun by noun. Each shape is that of a tensor that was seen."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from sleuth.backbones.vit_features import VitFeatures
from sleuth.explain.steps import TraceStep
from sleuth.explain.watch import Watch, parameters_of
from sleuth.models.detr import Detr
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import Queries


def detr_steps(model: Detr, images: ImageBatch, watch: Watch) -> Iterator[TraceStep]:
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
        return TraceStep(name, tuple(tensor.shape), module, about, parameters_of(part), seen[module].flops)

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


def detr_details(model: Detr, watch: Watch) -> Mapping[str, list[TraceStep]]:
    """The finer steps within backbone, encoder and decoder."""

    def step(module: str, name: str, about: str = "") -> TraceStep:
        seen = watch.seen[module]
        parameters = parameters_of(model.get_submodule(module))
        return TraceStep(name, tuple(seen.output.shape), module, about, parameters, seen.flops, detail=True)

    body = "backbone.body"
    if isinstance(model.backbone, VitFeatures):
        blocks = [step(f"{body}.blocks.{row}", f"block {row + 1}") for row in range(len(model.backbone.body.blocks))]
        found = {"backbone": [step(f"{body}.patches", "patches", "unfolded, one matrix product"), *blocks]}
    else:
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
