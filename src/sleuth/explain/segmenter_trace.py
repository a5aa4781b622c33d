"""The data flow of a Segmenter: what its backbone does, and how the patches are parted among classes."""

from collections.abc import Iterator, Mapping

from sleuth.explain.steps import Trace, TraceStep
from sleuth.explain.vit_steps import Looked, backbone_steps, block_steps, onlooking, step_of
from sleuth.explain.watch import Watch, parameters_of, watched
from sleuth.heads.semantic import MaskTransformerHead
from sleuth.models.segmenter import Segmenter
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SemanticPrediction


def trace_segmenter(model: Segmenter, images: ImageBatch, *, layers: bool = False, name: str = "") -> Trace:
    """Run a Segmenter once and tell what passed where; of backbone and head, the first block is told in full.

    Args:
        model: left as it is; it runs in evaluation mode.
        images: what to run it on.
        layers: tell of every block in full.
        name: what to call the model.

    Raises:
        UserError: a picture is smaller than a patch.
    """
    with watched(model) as watch, onlooking(model) as looked:
        prediction: SemanticPrediction = model(images)
    steps = list(backbone_steps(model, images, watch, looked, layers=layers))
    memory, (rows, columns) = prediction.memory, prediction.memory.grid_hw
    steps.append(TraceStep("memory", tuple(memory.patches.shape), about=f"the patches alone, {rows} x {columns}"))
    if isinstance(model.head, MaskTransformerHead):
        steps += _class_queries(model, model.head, watch, looked, prediction, layers=layers)
    else:
        about = f"one linear layer: each class at each of {rows} x {columns} patches"
        parameters, flops = parameters_of(model.head), watch.seen["head"].flops
        steps.append(TraceStep("logits", tuple(prediction.logits.shape), "head", about, parameters, flops))
    return Trace(name or type(model).__name__, tuple(steps), parameters_of(model), watch.total_flops)


def _class_queries(
    model: Segmenter,
    head: MaskTransformerHead,
    watch: Watch,
    looked: Mapping[str, Looked],
    prediction: SemanticPrediction,
    *,
    layers: bool,
) -> Iterator[TraceStep]:
    """The mask Transformer: classes and patches look at each other, and classes claim the patches like them."""
    seen, batch = watch.seen, len(prediction.logits)
    queries = (batch, *head.queries.shape[1:])
    yield TraceStep("queries", queries, "head.queries", "a learned one for each class", head.queries.numel())
    yield step_of(model, watch, "projected", "head.project", "the patches, for the head")
    sequence = seen["head.blocks.0"].inputs[0]
    yield TraceStep("classes and patches", tuple(sequence.shape), about="in one sequence, classes first")
    for number, _ in enumerate(head.blocks):
        block = f"head.blocks.{number}"
        if layers or not number:
            yield from block_steps(model, block, watch, looked)
        yield step_of(model, watch, f"head block {number + 1}", block, "attention, feed-forward")
    yield step_of(model, watch, "head states", "head.norm", "normalised")
    yield step_of(model, watch, "class vectors", "head.class_projection", "of the class queries, brought to length 1")
    yield step_of(model, watch, "patch vectors", "head.patch_projection", "of the patches, brought to length 1")
    within = [*(each for each, _ in head.named_children()), *(f"blocks.{each}" for each, _ in enumerate(head.blocks))]
    products = seen["head"].flops - sum(seen[f"head.{each}"].flops for each in within)
    cosines = tuple(seen["head.mask_norm"].output.shape)
    yield TraceStep("cosines", cosines, "head", "of each patch with each class", 0, products)
    parameters = parameters_of(head.mask_norm)
    about = "normalised over the classes of each patch, as a grid"
    yield TraceStep("logits", tuple(prediction.logits.shape), "head.mask_norm", about, parameters)
