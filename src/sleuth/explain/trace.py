"""The data flow of a model, measured while it runs: the shape at each step, parameters and FLOPs of each part.

Nothing here is computed from a config: hooks see the tensors pass, and PyTorch's counter sees the operations.
"""

from sleuth.explain.detr_steps import detr_details, detr_steps
from sleuth.explain.part_steps import part_details, part_steps
from sleuth.explain.steps import FLOPS_NOTE, Trace, TraceStep, shape_text
from sleuth.explain.watch import parameters_of, watch_run
from sleuth.models.detector import Detector
from sleuth.models.detr import Detr
from sleuth.types.batches import ImageBatch

__all__ = ["FLOPS_NOTE", "Trace", "TraceStep", "shape_text", "trace_model"]


def trace_model(model: Detector, images: ImageBatch, *, layers: bool = False, name: str = "") -> Trace:
    """Run a model once and tell what passed where.

    DETR is told in its own words; of any other family, what its parts, its own children, took in and gave out.

    Args:
        model: left as it is; it runs in evaluation mode.
        images: what to run it on.
        layers: tell of the stages of the backbone and of every encoder and decoder layer as well.
        name: what to call the model.
    """
    watch = watch_run(model, images)
    if isinstance(model, Detr):
        flow, details = detr_steps(model, images, watch), detr_details(model, watch) if layers else {}
    else:
        flow, details = part_steps(model, images, watch), part_details(model, watch) if layers else {}
    steps: list[TraceStep] = []
    for step in flow:
        steps += details.get(step.module, [])
        steps.append(step)
    return Trace(name or type(model).__name__, tuple(steps), parameters_of(model), watch.total_flops)
