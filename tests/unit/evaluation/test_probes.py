"""Frozen features: the nearest pictures vote, and one linear layer is fitted."""

import numpy as np
import pytest
import torch

from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import FirstPictures
from sleuth.evaluation.probes import Features, probe, read_features
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.classification import classifier_preprocess

NAMES = ("a", "b", "c")


def clouds(count: int, seed: int) -> Features:
    """Pictures whose features point where their class does."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, size=count)
    values = 4 * np.eye(3, 8)[labels] + generator.normal(size=(count, 8))
    return Features(values.astype(np.float32), labels, tuple(map(str, range(count))), NAMES)


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_clouds_are_told_apart(kind):
    measured = probe(kind, clouds(90, 0), clouds(60, 1))
    assert measured.numbers["top-1"] > 0.9
    assert np.allclose(measured.scores.sum(1), 1, atol=1e-5)


def test_the_nearest_votes_most():
    known = Features(np.eye(3, dtype=np.float32), np.arange(3), tuple("123"), NAMES)
    asked = Features(np.array([[0.9, 0.2, 0.0]], dtype=np.float32), np.array([0]), ("x",), NAMES)
    scores = probe("knn", known, asked).scores[0]
    similar = torch.nn.functional.normalize(torch.tensor([[0.9, 0.2, 0.0]]))[0]
    assert np.allclose(scores, (similar / 0.07).softmax(0).numpy(), atol=1e-6)


def test_classes_without_pictures_to_learn_from_are_never_guessed():
    known, asked = clouds(60, 0), clouds(20, 1)
    some = known.labels < 2
    fewer = Features(known.values[some], known.labels[some], tuple(np.array(known.pictures)[some]), NAMES)
    for kind in ("knn", "linear"):
        assert float(probe(kind, fewer, asked).scores[:, 2].max()) == 0


def test_features_are_what_the_head_reads():
    config = VitConfig(image_hw=(8, 8), patch_size=4, num_classes=0, dim=16, depth=1, num_heads=2, feedforward_dim=16)
    model, source = build_vit(config).eval(), FirstPictures(DigitPictures("val"), 5)
    found = read_features(model, source, classifier_preprocess((8, 8)), batch_size=2)
    assert found.values.shape == (5, 16)
    assert found.labels.tolist() == [source.label(index) for index in range(5)]
