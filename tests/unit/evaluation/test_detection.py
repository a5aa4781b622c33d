"""Running a model over a source: what reaches the numbers, and what is left as it was."""

import json
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sleuth.data.records import DetectionData, PictureRecord
from sleuth.data.samples import Sample
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model, evaluate_result_files, measure
from sleuth.evaluation.result_files import write_results
from sleuth.geometry.tiles import Tiling
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.detection import Preprocess
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

NAMES = ("cat", "dog")
SMALL = Preprocess(shortest=32, longest=64)


@dataclass(frozen=True)
class Coloured:
    """Pictures whose left upper pixel tells which objects they hold: the oracle model reads it."""

    objects: tuple[tuple[tuple[int, int], ...], ...]  # for each picture (label, left) of boxes 20 x 20
    names: tuple[str, ...] = NAMES
    category_ids: tuple[int, ...] = (4, 9)
    is_thing: tuple[bool, ...] = (True, True)

    def __len__(self) -> int:
        return len(self.objects)

    def load(self, index: int) -> Sample:
        boxes = torch.tensor([[left, 10, left + 20, 30] for _, left in self.objects[index]], dtype=torch.float32)
        return Sample(
            image=torch.full((3, 40, 80), index, dtype=torch.uint8),
            boxes_xyxy_px=boxes.reshape(-1, 4),
            labels=torch.tensor([label for label, _ in self.objects[index]], dtype=torch.int64),
            name=f"picture {index}",
            image_id=100 - index,
            size_hw=(40, 80),
        )


class Oracle(nn.Module):
    """Finds exactly what is there; the first of its two layers says everything twice, its last has ``shift`` px."""

    def __init__(self, source, queries=6, classes=2, shift=0.0, relabel=lambda label: label):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.frozen = nn.Linear(1, 1).eval()
        self.source, self.queries, self.classes, self.shift, self.relabel = source, queries, classes, shift, relabel
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, images: ImageBatch) -> SetPrediction:
        self.seen.append((self.training, torch.is_grad_enabled()))
        n = len(images.pixels)
        logits = torch.zeros(2, n, self.queries, self.classes + 1)
        logits[..., -1] = 9.0
        boxes = torch.full((2, n, self.queries, 4), 0.01)
        mean, std = torch.tensor(SMALL.mean), torch.tensor(SMALL.std)
        for row, pixels in enumerate(images.pixels):
            index = round(float(((pixels[:, 0, 0] * std + mean) * 255).mean()))
            for layer in range(2):
                slot = 0
                for label, left in self.source.objects[index]:
                    for _ in range(2 - layer):
                        logits[layer, row, slot, self.relabel(label)] = 12.0
                        centre = (left + 10 + layer * self.shift) / 80
                        boxes[layer, row, slot] = torch.tensor([centre, 0.5, 20 / 80, 20 / 40])
                        slot += 1
        memory = Memory(torch.zeros(n, 1, 1), torch.zeros(n, 1, 1), None, ((1, 1),))
        return SetPrediction(logits, boxes, memory)


@pytest.fixture
def source():
    return Coloured((((0, 0), (1, 50)), (), ((1, 30),)))


def test_an_oracle_scores_one(source):
    evaluation = evaluate_model(Oracle(source), source, SMALL, batch_size=2)
    assert evaluation.scores["AP"] == 1.0
    assert evaluation.truth.image_ids == (100, 99, 98)
    assert evaluation.truth.names == NAMES
    assert evaluation.truth.boxes_xywh_px.tolist() == [[0, 10, 20, 20], [50, 10, 20, 20], [30, 10, 20, 20]]
    assert evaluation.confusion.counts.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert len(evaluation.predictions) == 3 * 6
    assert evaluation.curves(0.75).mean.tolist() == [1.0] * 101


def test_a_shift_of_pixels_in_the_original_picture(source):
    """4 of 20 px: IoU 2/3, although the model saw pictures of another size."""
    assert evaluate_model(Oracle(source, shift=4.0), source, SMALL).scores["AP"] == pytest.approx(0.4)


def test_batches_do_not_matter(source):
    one, all_ = (evaluate_model(Oracle(source, shift=3.0), source, SMALL, batch_size=size) for size in (1, 8))
    assert one.to_json() == all_.to_json()
    assert np.array_equal(one.predictions.boxes_xywh_px, all_.predictions.boxes_xywh_px)


def test_layers(source):
    evaluation = evaluate_model(Oracle(source), source, SMALL, layers=True, batch_size=2)
    first, last = evaluation.layers.layers
    assert first.ap_nms == last.ap == last.ap_nms == 1.0
    assert first.ap < 1.0
    assert evaluate_model(Oracle(source), source, SMALL).layers is None


def test_at_most_100_predictions_a_picture(source):
    evaluation = evaluate_model(Oracle(source, queries=130), source, SMALL)
    assert np.bincount(evaluation.predictions.pictures).tolist() == [100] * 3
    assert evaluation.scores["AP"] == 1.0


def test_modes_and_gradients_are_left_as_they_were(source):
    model = Oracle(source).train()
    model.frozen.eval()
    evaluate_model(model, source, SMALL)
    assert model.training
    assert not model.frozen.training
    assert model.seen == [(False, False)]
    assert torch.is_grad_enabled()


def test_progress(source):
    calls = []
    evaluate_model(Oracle(source), source, SMALL, batch_size=2, progress=lambda *done: calls.append(done))
    assert calls == [(2, 3), (3, 3)]


def test_classes_are_matched_by_name(source):
    """The model knows dog, cat and bird, in another order than the data."""
    birds = Coloured((*source.objects, ((2, 0),)))
    model = Oracle(birds, classes=3, relabel=lambda label: (1, 0, 2)[label])
    evaluation = evaluate_model(model, source, SMALL, model_names=("dog", "cat", "bird"))
    assert evaluation.scores["AP"] == 1.0
    model.relabel = lambda label: (1, 2, 2)[label]
    evaluation = evaluate_model(model, source, SMALL, model_names=("dog", "cat", "bird"))
    assert [entry.ap for entry in evaluation.scores.per_class] == [1.0, 0.0]
    assert evaluation.unknown_class == 2


def test_no_class_in_common(source):
    with pytest.raises(UserError, match=r"no class in common: bird, fish against cat, dog"):
        evaluate_model(Oracle(source), source, SMALL, model_names=("bird", "fish"))


def test_another_number_of_classes(source):
    with pytest.raises(UserError, match=r"tells 5 classes apart, but 2 are named: cat, dog\. choose"):
        evaluate_model(Oracle(source, classes=5), source, SMALL)


def test_a_fault_of_a_picture_ends_it_and_leaves_no_thread(source):
    class Broken(Coloured):
        def load(self, index):
            if index == 1:
                raise UserError("cannot be read", where="b.jpg", mend="leave it out")
            return super().load(index)

    model = Oracle(source).train()
    with pytest.raises(UserError, match=r"b\.jpg: cannot be read"):
        evaluate_model(model, Broken(source.objects), SMALL, batch_size=1)
    assert model.training
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_no_batch(source):
    with pytest.raises(UserError, match="batch size is 0"):
        evaluate_model(Oracle(source), source, SMALL, batch_size=0)


def test_no_pictures():
    source = Coloured(())
    evaluation = evaluate_model(Oracle(source), source, SMALL, layers=True)
    assert evaluation.scores["AP"] is None
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["pictures"] == 0


def test_a_diverged_model_scores_zero_and_is_counted(source):
    class Diverged(Oracle):
        def forward(self, images):
            prediction = super().forward(images)
            prediction.logits.fill_(torch.nan)
            return prediction

    evaluation = evaluate_model(Diverged(source), source, SMALL, layers=True)
    assert evaluation.scores["AP"] == 0.0
    assert evaluation.not_finite == 18
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_crowds_of_a_data_set_stay_in_the_ground_truth(tmp_path, source):
    records = []
    for index in range(2):
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.full((40, 80, 3), index, dtype=np.uint8)).save(path)
        records.append(
            PictureRecord(
                id=7 + index,
                path=path,
                name=path.name,
                size_hw=(40, 80),
                labels=np.array([0, 1], dtype=np.int64),
                boxes_xyxy_px=np.array([[0, 10, 20, 30], [50, 10, 70, 30]], dtype=np.float64),
                crowd=np.array([False, index == 0]),
                annotation_ids=np.array([1, 2], dtype=np.int64),
                areas=np.array([300.0, 400.0]),
            )
        )
    data = DetectionData(tuple(records), NAMES, (4, 9), tmp_path, "coco")
    oracle = Oracle(Coloured((((0, 0), (1, 50)), ((0, 0), (1, 50)))))
    evaluation = evaluate_model(oracle, PictureSource(data), SMALL)
    assert evaluation.truth.image_ids == (7, 8)
    assert evaluation.truth.crowd.tolist() == [False, True, False, False]
    assert evaluation.truth.areas.tolist() == [300, 400, 300, 400]
    assert evaluation.scores["AP"] == 1.0
    assert evaluation.confusion.counts.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert evaluation.to_json()["crowds"] == 1


def test_a_detr_with_fresh_weights_in_half_precision(source):
    config = DetrConfig(
        backbone="resnet10",
        backbone_stages=2,
        backbone_width=8,
        dim=16,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        feedforward_dim=16,
        num_queries=5,
        num_classes=2,
    )
    torch.manual_seed(0)
    evaluation = evaluate_model(build_detr(config).to(torch.bfloat16), source, SMALL, layers=True)
    assert len(evaluation.layers.layers) == 2
    assert len(evaluation.predictions) == 15


def test_files_give_what_memory_gives(tmp_path, source):
    evaluation = evaluate_model(Oracle(source, shift=4.0), source, SMALL)
    truth = evaluation.truth
    content = {
        "images": [{"id": number} for number in truth.image_ids],
        "categories": [{"id": number, "name": name} for number, name in zip((4, 9), NAMES, strict=True)],
        "annotations": [
            {"id": row, "image_id": truth.image_ids[p], "category_id": truth.category_ids[k], "bbox": box}
            for row, (p, k, box) in enumerate(
                zip(truth.pictures, truth.labels, truth.boxes_xywh_px.tolist(), strict=True)
            )
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    write_results(tmp_path / "dt.json", truth, evaluation.predictions)
    again = evaluate_result_files(tmp_path / "gt.json", tmp_path / "dt.json")
    assert again.to_json() == evaluation.to_json()
    assert measure(truth, evaluation.predictions).to_json() == evaluation.to_json()


def test_on_tiles_as_without_where_pictures_are_no_larger(source):
    """The whole picture alone is seen, and nothing is merged away."""
    plain = evaluate_model(Oracle(source, shift=3.0), source, SMALL)
    calls = []
    tiling = Tiling((40, 80))
    tiled = evaluate_model(
        Oracle(source, shift=3.0), source, SMALL, tiling=tiling, progress=lambda *done: calls.append(done)
    )
    assert tiled.to_json() == plain.to_json()
    assert np.array_equal(tiled.predictions.boxes_xywh_px, plain.predictions.boxes_xywh_px)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_tiles_are_seen(source):
    model = Oracle(source)
    evaluation = evaluate_model(model, source, SMALL, tiling=Tiling((40, 40), 0.5), max_detections=10)
    assert len(model.seen) == 3 * 2
    assert np.bincount(evaluation.predictions.pictures).tolist() == [10] * 3


@pytest.mark.parametrize("more", [{"layers": True}, {"panoptic": True}])
def test_tiles_give_boxes_only(source, more):
    with pytest.raises(UserError, match="is not measured on tiles"):
        evaluate_model(Oracle(source), source, SMALL, tiling=Tiling((40, 40)), **more)


def test_a_class_without_a_name_on_tiles(source):
    with pytest.raises(UserError, match="more classes apart than the 1 that are named: dog"):
        evaluate_model(Oracle(source), source, SMALL, tiling=Tiling((40, 40)), model_names=("dog",))
