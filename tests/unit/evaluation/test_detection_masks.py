"""Masks and panoptic maps of a model: what reaches the numbers, with crowds, padding and pictures of several shapes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sleuth.data.masks import CodedMasks
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.data.samples import Sample
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model
from sleuth.evaluation.pictures import batches, panoptic_map
from sleuth.evaluation.result_files import read_predictions, write_results
from sleuth.geometry.rle import PackedMasks
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.preprocess import Preprocess
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

AS_IS = Preprocess(resize="none")
CAT, DOG, SKY = 0, 1, 2
TALL, WIDE = (32, 16), (16, 48)


@dataclass(frozen=True)
class Painted:
    """Pictures of given sizes: objects are (label, left, right) over the full height, in columns of four pixels."""

    sizes: tuple[tuple[int, int], ...]
    objects: tuple[tuple[tuple[int, int, int], ...], ...]
    names: tuple[str, ...] = ("cat", "dog", "sky")
    category_ids: tuple[int, ...] = (4, 9, 11)
    is_thing: tuple[bool, ...] = (True, True, False)
    with_masks: bool = True

    def __len__(self) -> int:
        return len(self.sizes)

    def load(self, index: int) -> Sample:
        height, width = self.sizes[index]
        rows = self.objects[index]
        masks = torch.zeros(len(rows), height, width, dtype=torch.bool)
        for row, (_, left, right) in enumerate(rows):
            masks[row, :, left:right] = True
        return Sample(
            image=torch.full((3, height, width), index, dtype=torch.uint8),
            boxes_xyxy_px=torch.tensor(
                [[left, 0, right, height] for _, left, right in rows], dtype=torch.float32
            ).reshape(-1, 4),
            labels=torch.tensor([label for label, _, _ in rows], dtype=torch.int64),
            name=f"picture {index}",
            image_id=index + 1,
            size_hw=(height, width),
            masks=masks if self.with_masks else None,
        )


class MaskOracle(nn.Module):
    """Answers what ``source`` holds, each mask ``shift`` columns aside; boxes stay right."""

    def __init__(self, source, shift=0, queries=5, relabel=lambda label: label, classes=3, with_masks=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.source, self.shift, self.queries, self.classes = source, shift, queries, classes
        self.relabel, self.with_masks = relabel, with_masks
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: ImageBatch) -> SetPrediction:
        self.shapes.append(tuple(images.pixels.shape))
        n, _, height, width = images.pixels.shape
        logits = torch.zeros(1, n, self.queries, self.classes + 1)
        logits[..., -1] = 9.0
        boxes = torch.full((1, n, self.queries, 4), 0.01)
        masks = torch.full((n, self.queries, height // 4, width // 4), -9.0)
        mean, std = torch.tensor(AS_IS.mean), torch.tensor(AS_IS.std)
        for row, pixels in enumerate(images.pixels):
            index = round(float(((pixels[:, 0, 0] * std + mean) * 255).mean()))
            own_width = self.source.sizes[index][1]
            for query, (label, left, right) in enumerate(self.source.objects[index]):
                logits[0, row, query, self.relabel(label)] = 30.0 - query / 8
                boxes[0, row, query] = torch.tensor(
                    [(left + right) / 2 / own_width, 0.5, (right - left) / own_width, 1.0]
                )
                first = max(left // 4 + self.shift, 0)
                masks[row, query, :, first : right // 4 + self.shift] = 9.0
        memory = Memory(
            torch.zeros(n, 1, 1), torch.zeros(n, 1, 1), None, ((1, 1),), input_hw=(height, width), pyramid=()
        )
        reader = (lambda picture, query: masks[picture, query]) if self.with_masks else None
        return SetPrediction(logits, boxes, memory, masks=reader)


@pytest.fixture
def source():
    return Painted(
        sizes=(TALL, WIDE, TALL, WIDE, WIDE),
        objects=(
            ((CAT, 0, 8), (SKY, 8, 16)),
            ((DOG, 0, 24), (CAT, 24, 32), (SKY, 32, 48)),
            (),
            ((CAT, 8, 40),),
            ((SKY, 0, 48),),
        ),
    )


def test_an_oracle_is_perfect(source):
    evaluation = evaluate_model(MaskOracle(source), source, AS_IS, batch_size=2)
    assert evaluation.masks["AP"] == evaluation.scores["AP"] == 1.0
    assert evaluation.panoptic.all.pq == evaluation.panoptic.stuff.pq == 1.0
    assert evaluation.panoptic.pictures == 5
    assert evaluation.truth.areas.tolist() == [256, 256, 384, 128, 256, 512, 768]
    numbers = evaluation.numbers
    assert (numbers["AP"], numbers["mask AP"], numbers["mask AP50"], numbers["PQ"], numbers["PQ stuff"]) == (1,) * 5
    content = evaluation.to_json()
    assert content["masks"]["scores"]["AP"] == content["panoptic"]["all"]["pq"] == 1.0
    assert [entry["name"] for entry in content["masks"]["per_class"]] == ["cat", "dog", "sky"]


def test_masks_are_measured_by_their_pixels(source):
    """4 of 24 columns aside: IoU 20 / 28 for the dog, while its box is right."""
    evaluation = evaluate_model(MaskOracle(source, shift=1), source, AS_IS)
    assert evaluation.scores["AP"] == 1.0
    assert evaluation.masks.per_class[DOG].ap == pytest.approx(0.5)  # 0.50, 0.55, 0.60, 0.65 and 0.70 of ten
    assert evaluation.panoptic.per_class[DOG].pq < 1.0


def test_pictures_of_one_batch_have_one_shape_and_the_order_stays(source):
    model = MaskOracle(source)
    evaluation = evaluate_model(model, source, AS_IS, batch_size=2)
    assert model.shapes == [(2, 3, *TALL), (2, 3, *WIDE), (1, 3, *WIDE)]
    assert evaluation.truth.image_ids == (1, 2, 3, 4, 5)
    assert evaluation.predictions.pictures.tolist() == [row for row in range(5) for _ in range(5)]
    one = evaluate_model(MaskOracle(source), source, AS_IS, batch_size=1)
    assert one.to_json() == evaluation.to_json()
    assert one.predictions.masks.tolist() == evaluation.predictions.masks.tolist()


def test_a_picture_waits_for_others_of_its_shape():
    sizes = (TALL, *[WIDE] * 5, TALL)
    taken = [[picture.index for picture in pictures] for pictures, _ in batches(Painted(sizes, ((),) * 7), AS_IS, 2)]
    assert taken == [[1, 2], [3, 4], [0, 6], [5]]


def test_of_many_shapes_a_few_pictures_wait_at_most():
    sizes = tuple((16, 16 + 4 * index) for index in range(30))
    taken = [[picture.index for picture in pictures] for pictures, _ in batches(Painted(sizes, ((),) * 30), AS_IS, 2)]
    assert taken == [[index] for index in range(30)]
    started = iter(batches(Painted(sizes, ((),) * 30), AS_IS, 2))
    assert next(started)[0][0].index == 0
    started.close()


def test_a_picture_answers_alike_in_every_batch():
    """With a true network, whose answers depend on padding."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, 48, side), dtype=np.uint8)) for side in (40, 64, 40, 96, 64)]

    class Noise(Painted):
        def load(self, index):
            return replace(super().load(index), image=images[index])

    sizes = tuple((48, image.shape[2]) for image in images)
    source = Noise(sizes, (((CAT, 0, 8), (SKY, 8, 40)),) * 5)
    config = DetrConfig(
        backbone="resnet10",
        backbone_width=8,
        dim=16,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward_dim=16,
        num_queries=6,
        num_classes=3,
        masks=True,
    )
    torch.manual_seed(1)
    model = build_detr(config)
    torch.nn.init.normal_(model.class_head.weight, std=1.0)
    one, three = (evaluate_model(model, source, AS_IS, batch_size=size) for size in (1, 3))
    assert np.allclose(one.predictions.scores, three.predictions.scores, atol=1e-5)
    assert np.allclose(one.predictions.boxes_xywh_px, three.predictions.boxes_xywh_px, atol=1e-3)
    areas = [
        [int(PackedMasks((counts,), sizes[at]).areas[0]) for counts, at in zip(each.masks, each.pictures, strict=True)]
        for each in (one.predictions, three.predictions)
    ]
    assert np.abs(np.subtract(*areas)).max() <= 5


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (False, False)])
def test_without_masks_on_both_sides_boxes_are_measured(source, ours, theirs):
    source = replace(source, with_masks=theirs)
    evaluation = evaluate_model(MaskOracle(source, with_masks=ours), source, AS_IS)
    assert evaluation.scores["AP"] == 1.0
    assert (evaluation.masks, evaluation.panoptic) == (None, None)
    assert set(evaluation.numbers) == {name for name, value in evaluation.scores.numbers.items() if value is not None}
    missing = "no masks" if not ours else "without masks"
    with pytest.raises(UserError, match=missing):
        evaluate_model(MaskOracle(source, with_masks=ours), source, AS_IS, panoptic=True)


def test_things_alone_have_panoptic_quality_if_it_is_asked_for():
    """What no object covers is then background, on which a segment is an invention; with stuff it would be void."""
    source = Painted((WIDE,), (((CAT, 0, 16),),), names=("cat", "dog"), category_ids=(1, 2), is_thing=(True, True))
    claims = Painted((WIDE,), (((CAT, 0, 16), (DOG, 16, 48)),))
    model = MaskOracle(claims, classes=2)
    assert evaluate_model(model, source, AS_IS).panoptic is None
    things = evaluate_model(model, source, AS_IS, panoptic=True).panoptic
    assert (things.per_class[CAT].pq, things.per_class[DOG].invented) == (1.0, 1)
    assert (things.all.pq, things.stuff.pq) == (0.5, None)
    assert things.to_json()["all"]["classes"] == 2


def test_void_of_panoptic_data_excuses():
    source = Painted((WIDE,), (((CAT, 0, 16),),))
    claims = Painted((WIDE,), (((CAT, 0, 16), (DOG, 16, 48)),))
    found = evaluate_model(MaskOracle(claims), source, AS_IS).panoptic
    assert found.per_class[DOG].invented == 0
    assert found.all.pq == 1.0


def test_segments_of_classes_that_the_data_lacks_are_left_out(source):
    """The model knows birds as well, and takes the sky for one."""
    model = MaskOracle(source, classes=4, relabel=lambda label: 3 if label == SKY else label)
    found = evaluate_model(model, source, AS_IS, model_names=("cat", "dog", "sky", "bird"))
    assert found.panoptic.per_class[CAT].pq == 1.0
    assert (found.panoptic.per_class[SKY].found, found.panoptic.per_class[SKY].invented) == (0, 0)
    assert found.masks.per_class[SKY].ap == 0.0
    assert found.unknown_class == 3


def test_crowds_of_files_count_in_masks_and_segments(tmp_path):
    """A crowd of cats, in which one is claimed; and a dog without a pixel, which boxes still ask for."""
    height, width = WIDE
    spans = [(CAT, 0, 16, False), (CAT, 16, 48, True), (DOG, 4, 4, False)]
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    for row, (_, left, right, _) in enumerate(spans):
        masks[row, :, left:right] = True
    path = Path(tmp_path / "a.png")
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(path)
    record = PictureRecord(
        id=7,
        path=path,
        name="a.png",
        size_hw=WIDE,
        labels=np.array([CAT, CAT, DOG], dtype=np.int64),
        boxes_xyxy_px=np.array([[0, 0, 16, 16], [16, 0, 48, 16], [4, 4, 6, 6]], dtype=np.float64),
        crowd=np.array([False, True, False]),
        annotation_ids=np.arange(3),
        areas=np.array([256.0, 512.0, 4.0]),
        masks=CodedMasks(PackedMasks.pack(masks).counts, WIDE),
    )
    data = DetectionData((record,), ("cat", "dog", "sky"), (4, 9, 11), tmp_path, "coco", is_thing=(True, True, False))
    claims = Painted((WIDE,), (((CAT, 0, 16), (CAT, 16, 48)),))
    evaluation = evaluate_model(MaskOracle(claims), PictureSource(data), AS_IS)
    assert evaluation.truth.crowd.tolist() == [False, True, False]
    assert evaluation.masks.per_class[CAT].ap == 1.0
    assert evaluation.masks.per_class[DOG].objects == 1
    assert (evaluation.panoptic.per_class[CAT].pq, evaluation.panoptic.per_class[CAT].invented) == (1.0, 0)
    assert evaluation.panoptic.per_class[DOG].segments == 0


def test_a_map_of_masks_that_overlap():
    masks = torch.tensor([[[True, True, False]], [[False, True, False]], [[False, True, False]]])
    made = panoptic_map(masks, np.array([2, 1, 0]), np.array([False, True, False]))
    assert made.ids.tolist() == [[1, 3, 0]]
    assert (made.labels.tolist(), made.crowd.tolist()) == ([2, 0], [False, False])


def test_more_detections_than_a_hundred():
    objects = tuple((CAT, 4 * place, 4 * place + 4) for place in range(130))
    source = Painted(((8, 520),), (objects,))
    few = evaluate_model(MaskOracle(source, queries=140), source, AS_IS)
    many = evaluate_model(MaskOracle(source, queries=140), source, AS_IS, max_detections=140)
    assert (len(few.predictions), len(many.predictions)) == (100, 140)
    assert few.masks["AR100"] == pytest.approx(100 / 130)
    assert many.masks["AR140"] == many.numbers["mask AR140"] == 1.0
    assert (few.to_json()["max_detections"], many.to_json()["max_detections"]) == (100, 140)


def test_masks_are_written_and_read_back(source, tmp_path):
    evaluation = evaluate_model(MaskOracle(source, shift=1), source, AS_IS)
    path = write_results(tmp_path / "found.json", evaluation.truth, evaluation.predictions)
    again = read_predictions(path, evaluation.truth)
    assert again.masks.tolist() == evaluation.predictions.masks.tolist()
