"""Parameter names are public: files that people have trained must load tomorrow.

`detr_r50_keys.txt` lists key and shape of DETR-R50, a range in braces standing for one key each. A change of this file
breaks every saved model, and needs a way to load the former ones.
"""

import re
from pathlib import Path

import torch

from sleuth.weights.catalog import build

LISTED = Path(__file__).parent / "detr_r50_keys.txt"


def expand(pattern: str) -> list[str]:
    """``a.{0-2}.b`` to a.0.b, a.1.b, a.2.b."""
    found = re.search(r"\{(\d+)-(\d+)\}", pattern)
    if not found:
        return [pattern]
    return [pattern.replace(found[0], str(number)) for number in range(int(found[1]), int(found[2]) + 1)]


def test_names_and_shapes_of_detr_r50() -> None:
    listed = {}
    for line in LISTED.read_text().splitlines():
        pattern, shape = line.split()
        for key in expand(pattern):
            assert key not in listed
            listed[key] = tuple(int(size) for size in shape.split("x"))
    with torch.device("meta"):
        model = build("detr-r50")
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == listed
