"""Pictures in, boxes out."""

import pytest
import torch

from sleuth.tasks.detection import (
    Preprocess,
    decode_detections,
    normalise_and_pad,
    preprocess_images,
)
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((480, 640), (800, 1066)),
        ((640, 480), (1066, 800)),
        ((600, 600), (800, 800)),
        ((400, 1200), (444, 1332)),  # the longer side is held to 1333
        ((1200, 400), (1332, 444)),
        ((1, 100), (13, 1300)),
        ((1, 10_000), (1, 1333)),  # thinner than a pixel
        ((10_000, 1), (1333, 1)),
        ((1, 1), (800, 800)),
    ],
)
def test_sizes_keep_the_shape(size_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Preprocess().size_for(size_hw) == expected


@pytest.mark.parametrize(
    "options", [{"shortest": 0}, {"longest": 0}, {"std": (1.0, 0.0, 1.0)}, {"mean": (float("nan"), 0.5, 0.5)}]
)
def test_numbers_that_prepare_no_picture_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sizes|mean"):
        Preprocess(**options)


def test_pixels_are_normalised_and_padding_is_zero() -> None:
    black, white = torch.zeros(3, 2, 3, dtype=torch.uint8), torch.full((3, 4, 2), 255, dtype=torch.uint8)
    batch = normalise_and_pad([black, white], mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    assert batch.pixels.shape == (2, 3, 4, 3)
    assert batch.pixels[0, :, 0, 0].tolist() == [-1.0, -1.0, 0.0]
    assert batch.pixels[1, :, 0, 0].tolist() == pytest.approx([1.0, 3.0, 1.0])
    assert batch.valid[0].tolist() == [[True] * 3] * 2 + [[False] * 3] * 2
    assert batch.valid[1].tolist() == [[True, True, False]] * 4
    assert bool((batch.pixels.masked_select(~batch.valid[:, None]) == 0).all())


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    image = torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8)
    same = Preprocess(shortest=8, longest=12, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    torch.testing.assert_close(preprocess_images([image], same).pixels[0] * 255, image.float())


def test_pictures_are_resized_before_they_are_padded() -> None:
    images = [torch.full((3, 10, 20), 255, dtype=torch.uint8), torch.full((3, 20, 10), 255, dtype=torch.uint8)]
    batch = preprocess_images(images, Preprocess(shortest=8, longest=100))
    assert batch.pixels.shape == (2, 3, 16, 16)
    assert batch.valid.flatten(1).sum(1).tolist() == [8 * 16, 8 * 16]
    edge = batch.pixels[0, :, 7, 15]  # no black leaks in from the padding
    torch.testing.assert_close(edge, batch.pixels[0, :, 0, 0])


def test_resizing_down_is_antialiased() -> None:
    stripes = torch.zeros(3, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = preprocess_images([stripes], Preprocess(shortest=8, longest=8, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert (small.pixels - 0.5).abs().max() < 0.05


def prediction(logits: list[list[float]], boxes: list[list[float]], layers: int = 1) -> SetPrediction:
    none = torch.zeros(1, 1, 4)
    return SetPrediction(
        logits=torch.tensor(logits)[None, None].repeat(layers, 1, 1, 1),
        boxes_cxcywh=torch.tensor(boxes)[None, None].repeat(layers, 1, 1, 1),
        memory=Memory(tokens=none, pos=none, valid=None, grids_hw=((1, 1),)),
    )


THREE = prediction(
    [[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 5.0]],
    [[0.5, 0.5, 0.5, 0.5], [0.25, 0.5, 0.1, 0.2], [0.5, 0.5, 1.0, 1.0]],
)


def test_each_query_tells_its_best_class_but_no_object() -> None:
    (found,) = decode_detections(THREE, [(100, 200)])
    assert found.labels.tolist() == [0, 1, 0]
    expected = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 5.0]]).softmax(-1)
    assert found.scores.tolist() == pytest.approx(expected[[1, 0, 2], [0, 1, 0]].tolist())


def test_boxes_are_in_pixels_of_the_original_picture() -> None:
    (found,) = decode_detections(THREE, [(100, 200)])
    assert found.boxes_xyxy_px[0].tolist() == pytest.approx([40.0, 40.0, 60.0, 60.0])
    assert found.boxes_xyxy_px[1].tolist() == pytest.approx([50.0, 25.0, 150.0, 75.0])


def test_the_threshold_is_kept_to() -> None:
    assert len(decode_detections(THREE, [(1, 1)], threshold=0.5)[0].scores) == 2
    nothing = decode_detections(THREE, [(1, 1)], threshold=1.0)[0]
    assert nothing.boxes_xyxy_px.shape == (0, 4)
    assert nothing.labels.shape == (0,)


def test_equal_scores_stay_in_the_order_of_queries() -> None:
    run = prediction([[0.0, 1.0, 0.0]] * 3, [[0.1, 0.5, 0.1, 0.1], [0.2, 0.5, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1]])
    (found,) = decode_detections(run, [(10, 10)])
    assert found.boxes_xyxy_px[:, 0].tolist() == pytest.approx([0.5, 1.5, 2.5])


def test_any_layer_can_answer() -> None:
    run = prediction([[0.0, 0.0, 0.0]], [[0.5, 0.5, 1.0, 1.0]], layers=2)
    run.logits[0, 0, 0, 1] = 9.0
    assert decode_detections(run, [(1, 1)], layer=0)[0].labels.tolist() == [1]
    assert decode_detections(run, [(1, 1)])[0].labels.tolist() == [0]


def test_a_broken_query_is_no_detection() -> None:
    run = prediction([[float("nan")] * 3, [3.0, 0.0, 0.0]], [[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    (found,) = decode_detections(run, [(10, 10)])
    assert found.labels.tolist() == [0]
    assert bool(found.scores.isfinite().all())


def test_a_batch_is_decoded_picture_by_picture() -> None:
    run = SetPrediction(
        logits=THREE.logits.repeat(1, 2, 1, 1), boxes_cxcywh=THREE.boxes_cxcywh.repeat(1, 2, 1, 1), memory=THREE.memory
    )
    first, second = decode_detections(run, [(100, 200), (10, 20)])
    torch.testing.assert_close(first.boxes_xyxy_px, second.boxes_xyxy_px * 10)
