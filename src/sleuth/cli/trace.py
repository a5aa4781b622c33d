"""`sleuth trace`."""

import torch
from rich.table import Table

from sleuth.cli.console import out, write_json
from sleuth.cli.sizes import parse_size
from sleuth.explain.trace import Trace, trace_model
from sleuth.models.detr import Detr, build_detr
from sleuth.runtime.predictor import load_weights
from sleuth.types import ImageBatch
from sleuth.weights.catalog import CATALOG


def run_trace(model: str, size: str, *, layers: bool, as_json: bool) -> None:
    """Run the model once on a picture of noise and print what flowed."""
    height, width = parse_size(size)
    network = _network(model)
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    images = ImageBatch(pixels=noise, valid=torch.ones(1, height, width, dtype=torch.bool))
    trace = trace_model(network, images, layers=layers)
    if as_json:
        write_json(trace.to_json(), "-")
    else:
        out().print(trace_table(trace, f"{model} on a picture of {height} x {width} (height x width)"))


def _network(model: str) -> Detr:
    """Shapes do not depend on weights: a named architecture is built afresh."""
    known = CATALOG.get(model)
    if known is not None:
        return build_detr(known.config)
    return load_weights(model).model


def trace_table(trace: Trace, title: str) -> Table:
    """The steps as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    table.add_column("made by", style="dim")
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("GFLOPs", justify="right")
    for step in trace.steps:
        table.add_row(
            step.name,
            step.part,
            str(list(step.shape)),
            f"{step.parameters:,}" if step.parameters else "",
            f"{step.flops / 1e9:.3f}" if step.flops else "",
        )
    table.add_section()
    table.add_row("whole model", "", "", f"{trace.parameters:,}", f"{trace.flops / 1e9:.3f}")
    table.caption = "A multiplication and an addition are two FLOPs. Decoder rows show the last of the layers."
    return table
