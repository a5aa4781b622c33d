"""The COCO numbers against hand-computed ones."""

import json

import numpy as np
import pytest

from sleuth.evaluation.coco import evaluate_files, evaluate_predictions, numbers_of
from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.evaluation.result_files import write_results


def numbers(scores, *names):
    return [scores[name] for name in names]


def test_perfect_predictions_give_one(truth_of, found_of):
    scores = evaluate_predictions(
        truth_of([(0, 0, 0, 0), (0, 1, 200, 0), (1, 0, 0, 0)], pictures=3),
        found_of([(0, 0, 0, 0, 0.9), (0, 1, 200, 0, 0.5), (1, 0, 0, 0, 0.1)]),
    )
    assert scores.measured == dict.fromkeys(("AP", "AP50", "AP75", "APl", "AR1", "AR10", "AR100", "ARl"), 1.0)
    assert list(scores.numbers) == list(numbers_of())


def test_one_false_positive_between_two_hits(truth_of, found_of):
    """Precision is 1 up to recall 0.5 (51 of the 101 recalls), then 2/3."""
    scores = evaluate_predictions(
        truth_of([(0, 0, 0, 0), (0, 0, 200, 0)]),
        found_of([(0, 0, 0, 0, 0.9), (0, 0, 400, 0, 0.8), (0, 0, 200, 0, 0.7)]),
    )
    assert scores["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert numbers(scores, "AP50", "AP75") == pytest.approx([scores["AP"]] * 2)
    assert numbers(scores, "AR1", "AR10", "AR100") == [0.5, 1.0, 1.0]


def test_a_shifted_box_counts_up_to_its_overlap(truth_of, found_of):
    """20 of 100 px aside: IoU 80 / 120, enough for 0.50, 0.55, 0.60 and 0.65, four of the ten."""
    scores = evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of([(0, 0, 20, 0, 0.9)]))
    assert numbers(scores, "AP", "AP50", "AP75", "AR100") == pytest.approx([0.4, 1.0, 0.0, 0.4])


def test_at_most_ten_predictions_a_picture(truth_of, found_of):
    scores = evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of([(0, 0, 0, 0, 0.9)]), max_detections=10)
    assert scores.numbers == dict.fromkeys(numbers_of(10)) | scores.measured
    assert numbers(scores, "AP", "AR1", "AR10", "ARl") == [1.0] * 4


@pytest.mark.parametrize(
    ("side", "sizes"), [(31.9, (1, 0, 0)), (32.0, (1, 1, 0)), (96.0, (0, 1, 1)), (96.1, (0, 0, 1))]
)
def test_sizes_are_counted_as_they_are_measured(truth_of, found_of, side: float, sizes: tuple[int, int, int]):
    """An object counts in each size whose AP it takes part in; a crowd in none."""
    truth = truth_of([(0, 0, 0, 0), (0, 0, 300, 300, True)], side=side)
    scores = evaluate_predictions(truth, found_of([(0, 0, 0, 0, 0.9)], side=side))
    assert tuple(scores.objects_per_size.values()) == sizes
    assert tuple(int(scores[name] is not None) for name in ("APs", "APm", "APl")) == sizes


def test_an_invention_on_an_empty_picture_costs_precision(truth_of, found_of):
    truth = truth_of([(0, 0, 0, 0)], pictures=2)
    hit, invention = (0, 0, 0, 0, 0.5), (1, 0, 0, 0, 0.9)
    assert evaluate_predictions(truth, found_of([hit, invention]))["AP"] == pytest.approx(0.5)
    assert evaluate_predictions(truth, found_of([hit]))["AP"] == 1.0


def test_a_crowd_is_neither_asked_for_nor_held_against(truth_of, found_of):
    found = found_of([(0, 0, 0, 0, 0.5), (0, 0, 200, 0, 0.9), (0, 0, 210, 0, 0.8)])
    crowd = evaluate_predictions(truth_of([(0, 0, 0, 0), (0, 0, 200, 0, True)]), found)
    single = evaluate_predictions(truth_of([(0, 0, 0, 0), (0, 0, 200, 0, False)]), found)
    nothing = evaluate_predictions(truth_of([(0, 0, 0, 0)]), found)
    assert crowd["AP50"] == 1.0
    assert single["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert nothing["AP50"] == pytest.approx(1 / 3)
    assert crowd.per_class[0].objects == 1


@pytest.mark.parametrize(("side", "size"), [(20.0, "s"), (60.0, "m"), (100.0, "l")])
def test_sizes(truth_of, found_of, side, size):
    scores = evaluate_predictions(truth_of([(0, 0, 0, 0)], side=side), found_of([(0, 0, 0, 0, 0.9)], side=side))
    for other in "sml":
        expected = 1.0 if other == size else None
        assert numbers(scores, f"AP{other}", f"AR{other}") == [expected, expected]


def test_no_predictions_give_zero(truth_of):
    scores = evaluate_predictions(truth_of([(0, 0, 0, 0)]), Predictions())
    assert numbers(scores, "AP", "AP50", "AR100", "APl") == [0.0] * 4
    assert scores["APs"] is None


@pytest.mark.parametrize("pictures", [0, 2])
def test_no_objects_give_nothing_to_measure(truth_of, found_of, pictures):
    found = found_of([(0, 0, 0, 0, 0.9)]) if pictures else Predictions()
    scores = evaluate_predictions(truth_of([], pictures=pictures), found)
    assert set(scores.numbers.values()) == {None}
    assert [entry.ap for entry in scores.per_class] == [None, None]
    assert np.isnan(scores.precision).all()


def test_no_classes():
    assert evaluate_predictions(GroundTruth((1,), (), ()), Predictions())["AP"] is None


def test_per_class_and_their_mean(truth_of, found_of):
    """The cat is found, the dog is taken for a cat; the bird is nowhere and does not count."""
    scores = evaluate_predictions(
        truth_of([(0, 0, 0, 0), (0, 1, 200, 0)], names=("cat", "dog", "bird")),
        found_of([(0, 0, 0, 0, 0.9), (0, 0, 200, 0, 0.8), (0, 2, 400, 0, 0.9)]),
    )
    cat, dog, bird = scores.per_class
    assert (cat.name, cat.category_id, cat.objects, cat.predictions, cat.ap) == ("cat", 5, 1, 2, 1.0)
    assert (dog.objects, dog.predictions, dog.ap, dog.ar) == (1, 0, 0.0, 0.0)
    assert (bird.objects, bird.predictions, bird.ap, bird.ap50) == (0, 1, None, None)
    assert scores["AP"] == 0.5


def test_predictions_that_are_no_numbers_count_as_not_made(truth_of, found_of):
    rows = [(0, 0, 0, 0, 0.5), (0, 0, 0, 0, np.nan), (0, 0, np.inf, 0, 0.9)]
    assert evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of(rows))["AP"] == 1.0


def test_equal_scores_are_taken_in_the_order_of_picture_ids(truth_of, found_of):
    """The picture of the smaller id is looked at first, whatever its row: a hit before the invention."""
    found = found_of([(0, 0, 300, 0, 0.5), (1, 0, 0, 0, 0.5)])
    rows = [(1, 0, 0, 0)]
    assert evaluate_predictions(truth_of(rows, image_ids=(7, 3)), found)["AP"] == 1.0
    assert evaluate_predictions(truth_of(rows, image_ids=(3, 7)), found)["AP"] == 0.5


def test_at_most_100_predictions_a_picture_count(truth_of, found_of):
    rows = [(0, 0, 300, 0, 0.9)] * 100 + [(0, 0, 0, 0, 0.5)]
    assert evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of(rows))["AP"] == 0.0
    assert evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of(rows[1:]))["AP"] == pytest.approx(0.01)


def test_nothing_is_printed(truth_of, found_of, capfd):
    evaluate_predictions(truth_of([(0, 0, 0, 0)]), found_of([(0, 0, 0, 0, 0.9)]))
    assert capfd.readouterr() == ("", "")


def test_the_same_through_files(truth_of, found_of, tmp_path):
    truth, found = truth_of([(0, 0, 0, 0)]), found_of([(0, 0, 20, 0, 0.9)])
    (tmp_path / "gt.json").write_text(
        json.dumps(
            {
                "images": [{"id": 11}],
                "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
                "annotations": [{"id": 0, "image_id": 11, "category_id": 5, "bbox": [0, 0, 100, 100]}],
            }
        )
    )
    write_results(tmp_path / "dt.json", truth, found)
    scores = evaluate_files(tmp_path / "gt.json", tmp_path / "dt.json")
    assert scores.numbers == evaluate_predictions(truth, found).numbers
    assert scores.per_class == evaluate_predictions(truth, found).per_class
