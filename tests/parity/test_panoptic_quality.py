"""Panoptic quality against panopticapi's own numbers, and against its definition pixel by pixel."""

import json

import numpy as np
import pytest

from sleuth.evaluation.panoptic import PanopticMap, panoptic_quality
from sleuth.evaluation.panoptic_files import evaluate_panoptic_files

CLASSES = ("person", "car", "sky", "grass")
IS_THING = (True, True, False, False)


def test_the_numbers_of_panopticapi(golden):
    folder = golden / "panoptic_quality"
    scores = evaluate_panoptic_files(
        folder / "ground_truth.json", folder / "ground_truth", folder / "predictions.json", folder / "predictions"
    )
    expected = json.loads((folder / "expected.json").read_text())
    assert scores.pictures == 16
    for name, quality in (("All", scores.all), ("Things", scores.things), ("Stuff", scores.stuff)):
        assert (quality.pq, quality.sq, quality.rq) == pytest.approx(
            tuple(expected[name][key] for key in ("pq", "sq", "rq")), abs=1e-9
        )
        assert quality.classes == expected[name]["n"]
    assert len(scores.per_class) == len(expected["per_class"])
    for entry in scores.per_class:
        # panopticapi writes 0 for a class without any segment.
        ours = {key: getattr(entry, key) or 0.0 for key in ("pq", "sq", "rq")}
        assert ours == pytest.approx(expected["per_class"][str(entry.category_id)], abs=1e-9)


def random_map(rng, base=None, crowds=0.3):
    """Rectangles over one another: segments of any class, crowds and void; or those of ``base``, changed."""
    side = 24
    ids, known = np.zeros((side, side), dtype=np.int64), {}
    if base is not None and len(base.labels):
        ids = np.roll(base.ids, rng.integers(-1, 2, 2), axis=(0, 1))
        # Ids mean nothing across the two maps.
        new = rng.permutation(np.arange(100, 100 + len(base.labels)))
        ids = np.where(ids == 0, 0, new[np.searchsorted(base.segment_ids, ids)])
        known = {int(number): int(label) for number, label in zip(new, base.labels, strict=True)}
        for number in rng.permutation(new)[: rng.integers(0, 3)]:
            known[int(number)] = int(rng.integers(len(CLASSES)))
    for number in range(1, rng.integers(3, 9) if base is None else rng.integers(1, 4)):
        top, left, high, wide = rng.integers(0, side - 4), rng.integers(0, side - 4), *rng.integers(3, 14, 2)
        void = rng.random() < 0.25
        ids[top : top + high, left : left + wide] = 0 if void else number
        known[number] = int(rng.integers(len(CLASSES)))
    seen = [number for number in sorted(known) if (ids == number).any()]
    return PanopticMap(
        ids=ids,
        segment_ids=np.array(seen, dtype=np.int64),
        labels=np.array([known[number] for number in seen], dtype=np.int64),
        crowd=(rng.random(len(seen)) < crowds) if base is None else np.zeros(len(seen), dtype=bool),
    )


def plain_counts(truth, found):
    """Overlaps found, found, invented and missed by class: the definition on sets of pixels."""
    counts = {label: [0.0, 0, 0, 0] for label in range(len(CLASSES))}
    void = set(zip(*np.nonzero(truth.ids == 0), strict=True))

    def segments(of):
        return [
            (int(label), bool(crowd), set(zip(*np.nonzero(of.ids == number), strict=True)))
            for number, label, crowd in zip(of.segment_ids, of.labels, of.crowd, strict=True)
        ]

    there, answers = segments(truth), segments(found)
    matched, used = set(), set()
    for row, (label, crowd, pixels) in enumerate(there):
        for column, (guess, _, region) in enumerate(answers):
            overlap = len(pixels & region) / len((pixels | region) - void)
            if guess == label and not crowd and overlap > 0.5:
                matched.add(row)
                used.add(column)
                counts[label][0] += overlap
                counts[label][1] += 1
    for column, (label, _, region) in enumerate(answers):
        crowds = [pixels for of, crowd, pixels in there if crowd and of == label]
        excused = len(region & void) + (len(region & crowds[-1]) if crowds else 0)
        if column not in used and excused / len(region) <= 0.5:
            counts[label][2] += 1
    for row, (label, crowd, _) in enumerate(there):
        if row not in matched and not crowd:
            counts[label][3] += 1
    return counts


@pytest.mark.parametrize("seed", range(30))
def test_the_definition_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(5):
        truth = random_map(rng)
        pairs.append((truth, random_map(rng, truth)))
    scores = panoptic_quality(pairs, names=CLASSES, category_ids=(4, 2, 9, 7), is_thing=IS_THING)
    each = [plain_counts(*pair) for pair in pairs]
    qualities = {}
    for label, entry in enumerate(scores.per_class):
        overlaps, found, invented, missed = (sum(part[label][column] for part in each) for column in range(4))
        assert (entry.found, entry.invented, entry.segments) == (found, invented, found + missed)
        if found + invented + missed == 0:
            assert entry.pq is None
            continue
        qualities[label] = overlaps / (found + invented / 2 + missed / 2)
        assert entry.pq == pytest.approx(qualities[label], abs=1e-9)
        assert entry.pq == pytest.approx(entry.sq * entry.rq, abs=1e-9)
    for quality, labels in ((scores.all, range(4)), (scores.things, (0, 1)), (scores.stuff, (2, 3))):
        measured = [qualities[label] for label in labels if label in qualities]
        assert quality.classes == len(measured)
        assert quality.pq == (pytest.approx(np.mean(measured), abs=1e-9) if measured else None)


def test_the_random_maps_meet_every_rule():
    """Else the comparison above would say little: crowds and void excuse, overlaps are found and missed."""
    found = invented = missed = excused = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = random_map(rng)
        guess = random_map(rng, truth)
        counts = plain_counts(truth, guess)
        found += sum(part[1] for part in counts.values())
        invented += sum(part[2] for part in counts.values())
        missed += sum(part[3] for part in counts.values())
        excused += len(guess.labels) - sum(part[1] + part[2] for part in counts.values())
    assert min(found, invented, missed, excused) > 10
