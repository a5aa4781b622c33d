"""Panoptic quality by hand, and each fault of panoptic folders told in one line."""

import json

import numpy as np
import pytest
from PIL import Image

from sleuth.errors import UserError
from sleuth.evaluation.panoptic import PanopticCounts, PanopticMap, panoptic_quality, quality_of
from sleuth.evaluation.panoptic_files import evaluate_panoptic_files, is_panoptic

CAT, DOG, SKY = 0, 1, 2


def strip(spans, width=100, crowd=()):
    """A map one pixel high: (label, start, end), numbered from 1 on."""
    ids = np.zeros((1, width), dtype=np.int64)
    for number, (_, start, end) in enumerate(spans, start=1):
        ids[:, start:end] = number
    return PanopticMap(
        ids=ids,
        segment_ids=np.arange(1, len(spans) + 1),
        labels=np.array([span[0] for span in spans], dtype=np.int64),
        crowd=np.array([number in crowd for number in range(1, len(spans) + 1)], dtype=bool),
    )


def scores_of(*pairs):
    return panoptic_quality(pairs, names=("cat", "dog", "sky"), category_ids=(5, 6, 9), is_thing=(True, True, False))


def test_found_missed_and_invented():
    """A cat found by 30 of 50 pixels, a dog missed and one invented, the sky as it is."""
    truth = strip([(CAT, 0, 40), (DOG, 40, 60), (SKY, 60, 90)])
    found = strip([(CAT, 10, 50), (SKY, 60, 90), (DOG, 50, 60)])
    scores = scores_of((truth, found))
    cat, dog, sky = scores.per_class
    assert (cat.pq, cat.sq, cat.rq, cat.found) == (pytest.approx(0.6), pytest.approx(0.6), 1.0, 1)
    assert (dog.segments, dog.found, dog.invented, dog.pq, dog.sq, dog.rq) == (1, 0, 1, 0.0, 0.0, 0.0)
    assert (sky.pq, sky.category_id, sky.is_thing) == (1.0, 9, False)
    assert scores.all.pq == pytest.approx((0.6 + 0 + 1) / 3)
    assert (scores.things.pq, scores.things.classes) == (pytest.approx(0.3), 2)
    assert scores.numbers["PQ stuff"] == 1.0
    assert list(scores.numbers) == [
        *("PQ", "SQ", "RQ"),
        *("PQ things", "SQ things", "RQ things"),
        *("PQ stuff", "SQ stuff", "RQ stuff"),
    ]


def test_half_is_not_enough():
    truth = strip([(CAT, 0, 50)], width=50)
    assert scores_of((truth, strip([(CAT, 0, 25)], width=50))).per_class[CAT].found == 0
    assert scores_of((truth, strip([(CAT, 0, 26)], width=50))).per_class[CAT].sq == pytest.approx(26 / 50)


def test_void_of_the_truth_is_not_held_against_a_segment():
    """80 pixels predicted, 40 of them on void: the overlap is 40 / 40."""
    truth = strip([(CAT, 0, 40)])
    assert scores_of((truth, strip([(CAT, 0, 80)]))).per_class[CAT].pq == 1.0
    excused = scores_of((truth, strip([(DOG, 30, 80)]))).per_class[DOG]  # 40 of its 50 pixels on void
    assert (excused.invented, excused.pq) == (0, None)
    assert scores_of((truth, strip([(DOG, 10, 70)]))).per_class[DOG].invented == 1  # half of it


def test_a_crowd_excuses_its_class_only():
    truth = strip([(CAT, 0, 60), (SKY, 60, 100)], crowd=(1,))
    scores = scores_of((truth, strip([(CAT, 10, 30), (DOG, 30, 60), (SKY, 60, 100)])))
    cat, dog, _ = scores.per_class
    assert (cat.segments, cat.invented, cat.pq) == (0, 0, None)
    assert (dog.invented, dog.pq) == (1, 0.0)
    assert scores.all.classes == 2


def test_pictures_add_up():
    one = (strip([(CAT, 0, 10)]), strip([(CAT, 0, 10)]))
    two = (strip([(CAT, 0, 10)]), strip([]))
    cat = scores_of(one, two).per_class[CAT]
    assert (cat.found, cat.segments, cat.pq) == (1, 2, pytest.approx(1 / 1.5))
    assert scores_of(one, two).pictures == 2


def test_nothing_at_all():
    scores = quality_of(PanopticCounts.none(1), names=["a"], category_ids=[1], is_thing=[True], pictures=0)
    assert set(scores.numbers.values()) == {None}
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False))["all"]["classes"] == 0
    assert scores_of((strip([]), strip([]))).all.pq is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (PanopticMap(np.array([[1, 7]]), np.array([1]), np.array([0]), np.array([False])), ["7", "not in the JSON"]),
        (PanopticMap(np.array([[1, 1]]), np.array([1, 2]), np.array([0, 0]), np.zeros(2, bool)), ["2", "in the pic"]),
        (PanopticMap(np.array([[1, 1]]), np.array([1, 1]), np.array([0, 0]), np.zeros(2, bool)), ["1", "twice"]),
        (PanopticMap(np.array([[1, 0]]), np.array([1, 0]), np.array([0, 0]), np.zeros(2, bool)), ["0", "void"]),
        (PanopticMap(np.array([[1]]), np.array([1]), np.array([0]), np.array([False])), ["1x1", "2x1"]),
    ],
)
def test_maps_that_do_not_fit(bad, words):
    with pytest.raises(UserError) as caught:
        scores_of((strip([(CAT, 0, 2)], width=2), bad))
    assert all(word in caught.value.line() for word in words)


CATEGORIES = [{"id": 5, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]


@pytest.fixture
def folders(tmp_path):
    """Write ground truth and predictions of two pictures; changes are applied to the predictions, or to the truth."""

    def write(found=None, truth=None, ids=((1, 1, 600), (1, 600, 0)), mode="RGB"):
        plain = {
            "annotations": [
                {
                    "image_id": number,
                    "file_name": f"{number}.png",
                    "segments_info": [{"id": 1, "category_id": 5}, {"id": 600, "category_id": 9}],
                }
                for number in (3, 4)
            ]
        }
        for name, more in (("truth", truth), ("found", found)):
            (tmp_path / name).mkdir()
            page = plain | ({"categories": CATEGORIES} if name == "truth" else {})
            (tmp_path / f"{name}.json").write_text(json.dumps(page | (more or {})))
            for number in (3, 4):
                values = np.array(ids if name == "found" and number == 4 else ((1, 1, 600), (1, 600, 0)))
                colours = np.stack([values % 256, values // 256, values * 0], axis=-1).astype(np.uint8)
                of = mode if name == "found" else "RGB"
                Image.fromarray(colours).convert(of).save(tmp_path / name / f"{number}.png")
        return tmp_path

    return write


def entry(number=4, **changes):
    both = [{"id": 1, "category_id": 5}, {"id": 600, "category_id": 9}]
    return {"image_id": number, "file_name": f"{number}.png", "segments_info": both} | changes


def evaluate(root):
    return evaluate_panoptic_files(root / "truth.json", None, root / "found.json", None)


def test_folders_of_the_custom(folders):
    scores = evaluate(folders())
    assert scores.all.pq == 1.0
    assert [each.name for each in scores.per_class] == ["cat", "sky"]
    assert [each.is_thing for each in scores.per_class] == [True, False]


def test_other_folders_and_more_predictions_than_asked_for(folders):
    root = folders(found={"annotations": [entry(3), entry(4), entry(77)]})
    (root / "found").rename(root / "elsewhere")
    scores = evaluate_panoptic_files(root / "truth.json", root / "truth", root / "found.json", root / "elsewhere")
    assert scores.all.pq == 1.0
    with pytest.raises(UserError, match=r"found: there is no such folder.*--predictions-folder"):
        evaluate(root)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ((1, 1, 600), (1, 7, 0))}, ["4.png", "7", "not in the JSON"]),
        ({"ids": ((1, 1, 0), (1, 1, 0))}, ["4.png", "600", "not in the picture"]),
        ({"ids": ((1, 1), (1, 600))}, ["4.png", "2x2", "3x2"]),
        ({"mode": "L"}, ["3.png", "mode L"]),
        ({"found": {"annotations": [entry(3), entry(file_name="5.png")]}}, ["5.png", "no such picture"]),
        ({"found": {"annotations": [entry(3), entry(file_name=5)]}}, ["annotations[1]", "file_name"]),
        ({"found": {"annotations": [entry(3)]}}, ["found.json", "no prediction for the picture 4"]),
        ({"found": {"annotations": [entry(3), entry(3)]}}, ["annotations[1]", "3 comes twice"]),
        ({"found": {"annotations": [entry(3), {"image_id": 4}]}}, ["annotations[1]", '"file_name" is missing']),
        ({"found": {"annotations": [entry(3), {"image_id": 4, "file_name": "4.png"}]}}, ["segments_info"]),
        (
            {"found": {"annotations": [entry(3), entry(segments_info=[{"id": 1, "category_id": 8}])]}},
            ["found.json", "annotations[1]", "segments_info[0]", '"category_id" is 8', "5, 9"],
        ),
        (
            {
                "truth": {"images": [{"id": 4, "file_name": "a/b.jpg"}]},
                "found": {"images": [{"id": 4, "file_name": "c"}]},
            },
            ["found.json", "picture 4 is 'c' here, but 'b'", "--model"],
        ),
        ({"found": {"annotations": {}}}, ['"annotations" is not a list']),
        ({"truth": {"annotations": []}}, ["truth.json", "not a COCO panoptic file"]),
        ({"truth": {"categories": []}}, ["truth.json", "at least one category"]),
        ({"truth": {"categories": [{"id": 5, "name": "cat"}]}}, ["categories[0]", '"isthing" is missing']),
        ({"truth": {"categories": [{"id": 5, "isthing": 3}]}}, ["categories[0]", '"isthing" is 3']),
    ],
)
def test_faults_of_folders(folders, changes, words):
    root = folders(**changes)
    with pytest.raises(UserError) as caught:
        evaluate(root)
    line = caught.value.line()
    assert "\n" not in line
    assert caught.value.mend
    for word in words:
        assert word in line


def test_a_picture_of_segments_that_is_none(folders):
    root = folders()
    (root / "found" / "4.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"4\.png: cannot be read"):
        evaluate(root)


def test_what_is_panoptic(tmp_path):
    for content, panoptic in (
        ({"annotations": [entry()]}, True),
        ({"annotations": [{"bbox": []}]}, False),
        ({"annotations": []}, False),
        ([], False),
    ):
        (tmp_path / "a.json").write_text(json.dumps(content))
        assert is_panoptic(tmp_path / "a.json") is panoptic
