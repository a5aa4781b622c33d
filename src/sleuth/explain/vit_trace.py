"""The data flow of a classifier: what its backbone does, what is pooled, and the answer."""

from collections.abc import Iterator

from sleuth.explain.steps import Trace, TraceStep
from sleuth.explain.vit_steps import backbone_steps, onlooking, step_of
from sleuth.explain.watch import Watch, parameters_of, watched
from sleuth.models.vit import VisionTransformer
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import ClassPrediction

_POOLED = {
    "class": "the class token",
    "mean": "the mean of the patches",
    "class+mean": "the class token and the mean of the patches",
}


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
    with watched(model) as watch, onlooking(model) as looked:
        prediction: ClassPrediction = model(images)
    steps = [*backbone_steps(model, images, watch, looked, layers=layers), *_answer(model, watch, prediction)]
    return Trace(name or type(model).__name__, tuple(steps), parameters_of(model), watch.total_flops)


def _answer(model: VisionTransformer, watch: Watch, prediction: ClassPrediction) -> Iterator[TraceStep]:
    yield step_of(model, watch, "pooled", "pooling", _POOLED[model.pooling.pool])
    if prediction.by_head:
        yield step_of(model, watch, "head's logits", "head", "of the class token")
        yield step_of(model, watch, "distilled logits", "distill_head", "of the distillation token")
        yield TraceStep("logits", tuple(prediction.logits.shape), about="the mean of both heads")
    else:
        yield step_of(model, watch, "logits", "head", "a class each")
