"""Image processors of Hugging Face's detectors: each has defaults of its own."""

from dataclasses import replace
from typing import Any

import pytest

from sleuth.errors import UserError
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.processors import read_processor, write_processor

DETR = Preprocess(rounding="huggingface")
RTDETR = replace(DETR, resize="exact", size_hw=(640, 640), normalise=False)


@pytest.mark.parametrize("ending", ["", "Fast", "Pil"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("DetrImageProcessor", DETR), ("DeformableDetrImageProcessor", DETR), ("RTDetrImageProcessor", RTDETR)],
)
def test_a_name_alone_says_how_pictures_are_prepared(kind: str, ending: str, expected: Preprocess) -> None:
    assert read_processor({"image_processor_type": kind + ending}) == expected
    assert read_processor({}, usual=kind) == expected
    written = write_processor(expected, kind=kind)
    assert written["image_processor_type"] == kind
    assert read_processor(written) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": {"height": 320, "width": 480}}, {"size_hw": (320, 480)}),
        ({"size": {"shortest_edge": 512, "longest_edge": 600}}, {"resize": "shortest", "size_hw": None}),
        ({"do_normalize": True}, {"normalise": True}),
        ({"do_resize": False}, {"resize": "none", "size_hw": None}),
        ({"do_pad": True, "pad_size": {"height": 640, "width": 700}}, {"pad_hw": (640, 700)}),
    ],
)
def test_what_a_file_says_goes_before_the_defaults(values: dict[str, Any], expected: dict[str, Any]) -> None:
    found = read_processor({"image_processor_type": "RTDetrImageProcessor", **values})
    sizes = {"shortest": 512, "longest": 600} if "shortest_edge" in values.get("size", {}) else {}
    assert found == replace(RTDETR, **expected, **sizes)


def test_other_processors_are_refused() -> None:
    with pytest.raises(UserError, match=r"'YolosImageProcessor' is not one of DETR's. known: .*RTDetrImageProcessor"):
        read_processor({"image_processor_type": "YolosImageProcessor"})
