"""The COCO numbers against a published reference, and against the definition written out in plain Python."""

import json

import numpy as np
import pytest
import torch

from sleuth.evaluation.coco import evaluate_files, evaluate_predictions
from sleuth.evaluation.columns import GroundTruth, Predictions, mask_column
from sleuth.geometry.rle import PackedMasks

SIZES = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}
IOUS = [round(0.5 + 0.05 * step, 2) for step in range(10)]


def test_the_published_reference(shared_data):
    folder = shared_data("coco_ap_reference")
    scores = evaluate_files(folder / "ground_truth.json", folder / "detections.json")
    expected = json.loads((folder / "expected.json").read_text())
    assert dict(scores.numbers) == pytest.approx(expected, abs=1e-6)


def iou_of(found, there, crowd):
    if isinstance(found, np.ndarray) and found.ndim == 2:
        shared = (found & there).sum()
        return shared / max(found.sum() + (0 if crowd else there.sum() - shared), 1)
    wide = min(found[0] + found[2], there[0] + there[2]) - max(found[0], there[0])
    high = min(found[1] + found[3], there[1] + there[3]) - max(found[1], there[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (found[2] * found[3] + (0 if crowd else there[2] * there[3] - shared))


def match_picture(found, there, least, low, high):
    """Each prediction, best first: (score, right, ignored); and the number of objects of this size."""
    objects = sorted(
        ({**o, "skip": o["crowd"] or not low <= o["area"] <= high} for o in there), key=lambda o: o["skip"]
    )
    rows, taken = [], set()
    for guess in sorted(found, key=lambda guess: -guess["score"])[:100]:
        best, best_iou = None, least
        for index, item in enumerate(objects):
            if index in taken and not item["crowd"]:
                continue
            if best is not None and not objects[best]["skip"] and item["skip"]:
                break
            overlap = iou_of(guess["box"], item["box"], item["crowd"])
            if overlap >= best_iou:
                best, best_iou = index, overlap
        area = guess["box"].sum() if guess["box"].ndim == 2 else guess["box"][2] * guess["box"][3]
        if best is None:
            rows.append((guess["score"], False, not low <= area <= high))
        else:
            taken.add(best)
            rows.append((guess["score"], True, objects[best]["skip"]))
    return rows, sum(not item["skip"] for item in objects)


def plain_scores(truth, predictions, there_px=None, found_px=None):
    """AP and AR by the definition, number by number; of boxes, or of masks where their pixels are given."""
    there_px = truth.boxes_xywh_px if there_px is None else there_px
    found_px = predictions.boxes_xywh_px if found_px is None else found_px
    answer = {}
    for size, (low, high) in SIZES.items():
        ap, ar = {}, {}
        for label in range(len(truth.names)):
            for least in IOUS:
                rows, total = [], 0
                for picture in range(len(truth.image_ids)):
                    there = [
                        {"box": box, "crowd": bool(crowd), "area": area}
                        for box, crowd, area, at, of in zip(
                            there_px, truth.crowd, truth.areas, truth.pictures, truth.labels, strict=True
                        )
                        if at == picture and of == label
                    ]
                    found = [
                        {"box": box, "score": score}
                        for box, score, at, of in zip(
                            found_px,
                            predictions.scores,
                            predictions.pictures,
                            predictions.labels,
                            strict=True,
                        )
                        if at == picture and of == label
                    ]
                    more, count = match_picture(found, there, least, low, high)
                    rows, total = rows + more, total + count
                if not total:
                    continue
                rows = [row for row in sorted(rows, key=lambda row: -row[0]) if not row[2]]
                right = np.cumsum([row[1] for row in rows]) if rows else np.zeros(0)
                recall, precision = right / total, right / np.arange(1, len(rows) + 1)
                at = [precision[recall >= level - 1e-12].max(initial=0) for level in np.linspace(0, 1, 101)]
                ap[label, least] = np.mean(at)
                ar[label, least] = recall[-1] if rows else 0.0
        answer[f"AP{size}"] = np.mean(list(ap.values())) if ap else None
        answer[f"AR{size or '100'}"] = np.mean(list(ar.values())) if ar else None
        if not size:
            answer |= {f"AP{p}": np.mean([v for (_, i), v in ap.items() if i == p / 100]) for p in (50, 75)}
    return answer


@pytest.mark.parametrize("seed", range(4))
def test_the_definition_in_plain_python(seed):
    rng = np.random.default_rng(seed)
    pictures, objects, guesses = 6, 40, 120
    boxes = np.concatenate([rng.uniform(0, 200, (objects, 2)), rng.choice([20, 50, 120], (objects, 2))], axis=1)
    truth = GroundTruth(
        image_ids=tuple(range(pictures)),
        category_ids=(4, 2, 9),
        names=("a", "b", "c"),
        pictures=rng.integers(0, pictures - 1, objects),
        labels=rng.integers(0, 3, objects),
        boxes_xywh_px=boxes,
        areas=boxes[:, 2] * boxes[:, 3] * rng.uniform(0.5, 1, objects),
        crowd=rng.random(objects) < 0.15,
    )
    near = rng.integers(0, objects, guesses)
    moved = boxes[near] + rng.normal(0, 6, (guesses, 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], 1)
    stray = rng.random(guesses) < 0.2
    predictions = Predictions(
        pictures=np.where(stray, rng.integers(0, pictures, guesses), truth.pictures[near]),
        labels=np.where(stray, rng.integers(0, 3, guesses), truth.labels[near]),
        boxes_xywh_px=moved,
        scores=rng.random(guesses),
    )
    scores = evaluate_predictions(truth, predictions)
    expected = plain_scores(truth, predictions)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_definition_in_plain_python_for_masks(seed):
    """Blots of any shape: areas and overlaps are those of pixels, whatever the boxes say."""
    rng = np.random.default_rng(seed)
    pictures, objects, guesses, side = 4, 24, 70, 128
    rows, columns = np.mgrid[:side, :side]

    def blots(count):
        y, x = rng.uniform(0, side, (2, count, 1, 1))
        high, wide = rng.choice([10.0, 30.0, 70.0], (2, count, 1, 1)) * rng.uniform(0.6, 1.2, (2, count, 1, 1))
        return ((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 < 1

    there = blots(objects)
    near = rng.integers(0, objects, guesses)
    shift = rng.integers(-3, 4, (guesses, 2))
    found = np.stack([np.roll(there[n], by, axis=(0, 1)) for n, by in zip(near, shift, strict=True)])
    stray = rng.random(guesses) < 0.2
    found[stray] = blots(stray.sum())

    def packed(masks):
        return mask_column(PackedMasks.pack(torch.from_numpy(masks)).counts)

    truth = GroundTruth(
        image_ids=tuple(range(pictures)),
        category_ids=(4, 2, 9),
        names=("a", "b", "c"),
        pictures=rng.integers(0, pictures, objects),
        labels=rng.integers(0, 3, objects),
        boxes_xywh_px=np.ones((objects, 4)),
        areas=there.sum((1, 2)).astype(np.float64),
        crowd=rng.random(objects) < 0.15,
        masks=packed(there),
        sizes_hw=((side, side),) * pictures,
    )
    predictions = Predictions(
        pictures=np.where(stray, rng.integers(0, pictures, guesses), truth.pictures[near]),
        labels=np.where(stray, rng.integers(0, 3, guesses), truth.labels[near]),
        boxes_xywh_px=np.ones((guesses, 4)),
        scores=rng.random(guesses),
        masks=packed(found),
    )
    scores = evaluate_predictions(truth, predictions, kind="masks")
    expected = plain_scores(truth, predictions, there, found)
    assert 0.2 < expected["AP"] < 0.95
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)
