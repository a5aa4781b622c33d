"""`sleuth trace`."""

import torch

from sleuth.cli.console import print_text, write_json
from sleuth.cli.sizes import parse_size
from sleuth.explain.trace import trace_model
from sleuth.models.detector import Detector
from sleuth.types import ImageBatch
from sleuth.weights.catalog import build
from sleuth.weights.resolve import is_path, open_model


def run_trace(model: str, size: str, *, layers: bool, as_json: bool) -> None:
    """Run the model once on a picture of noise and print what flowed."""
    height, width = parse_size(size)
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    images = ImageBatch(pixels=noise, valid=torch.ones(1, height, width, dtype=torch.bool))
    trace = trace_model(_network(model), images, layers=layers, name=model)
    if as_json:
        write_json(trace.to_json(), "-")
    else:
        print_text(trace.render())


def _network(model: str) -> Detector:
    """Shapes do not depend on weights: a named architecture is built afresh."""
    return open_model(model).model if is_path(model) else build(model)
