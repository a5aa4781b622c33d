"""The bars of panoptic quality, and the report of panoptic files."""

import csv
import json

import numpy as np
import pytest

from sleuth.evaluation.figures import save_figure
from sleuth.evaluation.panoptic import PanopticCounts, quality_of
from sleuth.evaluation.panoptic_figure import MOST_BARS, draw_panoptic_quality
from sleuth.evaluation.report import write_report
from sleuth.evaluation.tables import text


def scores_of(found, things):
    """Classes with ``found`` segments each, found by half and overlapping by 0.8; a class of none is not measured."""
    found = np.array(found, dtype=np.int64)
    counts = PanopticCounts(iou=found * 0.8, found=found, invented=found * 0, missed=found)
    names = [f"class $x_{number}$ <b>" for number in range(len(found))]
    return quality_of(counts, names=names, category_ids=range(len(found)), is_thing=things, pictures=3)


def labels_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_bar_for_each_measured_class_things_first():
    figure = draw_panoptic_quality(scores_of([4, 0, 2, 1], [False, True, True, False]))
    assert [label.rsplit("(", 1)[1] for label in labels_of(figure)] == ["4)", "8)", "2)"]
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([0.8 / 1.5] * 3)
    assert "PQ 0.533" in figure.axes[0].get_title(loc="left")


def test_of_many_classes_the_most_frequent_are_drawn(tmp_path):
    figure = draw_panoptic_quality(scores_of(range(1, 60), [True] * 59))
    assert len(labels_of(figure)) == MOST_BARS
    assert f"the {MOST_BARS} classes with the most segments of 59" in figure.axes[0].get_title(loc="left")
    assert save_figure(figure, tmp_path / "p.png").stat().st_size > 0


def test_nothing_to_draw(tmp_path):
    figure = draw_panoptic_quality(scores_of([0], [True]))
    assert save_figure(figure, tmp_path / "p.png").stat().st_size > 0


def test_tables(tmp_path):
    shown = text(scores_of([4, 0, 2], [False, True, True]), most_classes=2)
    assert "the 2 most frequent of 3" in shown
    assert "stuff" in shown
    assert "0.533" in shown


def test_the_folder_of_panoptic_scores(tmp_path):
    scores = scores_of([4, 0, 2], [False, True, True])
    files = write_report(scores, tmp_path / "r")
    assert {path.name for path in files} == {"scores.json", "panoptic.csv", "panoptic.png", "report.html"}
    assert json.loads((tmp_path / "r" / "scores.json").read_text()) == json.loads(json.dumps(scores.to_json()))
    with (tmp_path / "r" / "panoptic.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pq"] for row in rows] == [str(scores.per_class[0].pq), "", str(scores.per_class[2].pq)]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
