"""`sleuth trace`."""

import torch

from sleuth.cli.console import print_text, write_json
from sleuth.cli.sizes import parse_size
from sleuth.explain.trace import trace_model
from sleuth.models.detector import Detector
from sleuth.tasks.preprocess import Preprocess
from sleuth.types import ImageBatch
from sleuth.weights.catalog import build, entry
from sleuth.weights.resolve import is_path, open_model

USUAL_SIZE = (800, 600)


def run_trace(model: str, size: str | None, *, layers: bool, as_json: bool) -> None:
    """Run the model once on a picture of noise and print what flowed.

    Without a size, the picture is of the one that the model sees all pictures in, or 800 x 600.
    """
    asked = None if size is None else parse_size(size)
    network, preprocess = _network(model)
    usual = preprocess.size_hw if preprocess.resize == "exact" and preprocess.size_hw else USUAL_SIZE
    height, width = asked or usual
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    images = ImageBatch(pixels=noise, valid=torch.ones(1, height, width, dtype=torch.bool))
    trace = trace_model(network, images, layers=layers, name=model)
    if as_json:
        write_json(trace.to_json(), "-")
    else:
        print_text(trace.render())


def _network(model: str) -> tuple[Detector, Preprocess]:
    """The model, and how it sees pictures. Shapes do not depend on weights: a named architecture is built afresh."""
    if is_path(model):
        loaded = open_model(model)
        return loaded.model, loaded.preprocess
    return build(model), entry(model).preprocess
