"""The parts of a run, and what they make of the recipe."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.tasks.preprocess import Preprocess, normalise_and_pad, preprocess_images
from sleuth.training.detection_work import DetectionWork
from sleuth.training.run import open_run


def test_weights_depend_on_the_seed_alone(tiny, tmp_path: Path):
    quiet = Console(quiet=True)

    def weights(name: str, seed: int) -> torch.Tensor:
        recipe = tiny(f"run.seed={seed}")
        with open_run(DetectionWork(recipe), tmp_path / name, resume=False, console=quiet) as run:
            return run.model.class_head.weight.detach().clone()

    torch.rand(3)
    assert torch.equal(weights("a", 1), weights("b", 1))
    assert not torch.equal(weights("c", 1), weights("d", 2))


def test_object_counts_are_those_of_one_large_batch(tiny, tmp_path: Path):
    recipe = tiny("optimizer.accumulate=2", "optimizer.batch_size=3")
    with open_run(DetectionWork(recipe), tmp_path / "run", resume=False, console=Console(quiet=True)) as run:
        batches = run.next_batches()
        counts = run.counts(batches)
        whole = run.work.criterion.counts([target for _, targets in batches for target in targets], 8)
        assert torch.allclose(counts * 2, whole)


@pytest.mark.parametrize("clip", [0.5, 0.0])
def test_gradients_are_clipped_to_the_largest_norm(tiny, tmp_path: Path, clip: float):
    recipe = tiny(f"optimizer.clip={clip}")
    with open_run(DetectionWork(recipe), tmp_path / "run", resume=False, console=Console(quiet=True)) as run:
        for parameter in run.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
        before = sum(parameter.numel() for parameter in trained) ** 0.5
        assert float(run.clip_gradients()) == pytest.approx(before, rel=1e-4)
        after = float(torch.cat([parameter.grad.flatten() for parameter in trained]).norm())
        assert after == pytest.approx(clip or before, rel=1e-4)


@pytest.mark.parametrize("changes", [{}, {"rescale": 1 / 128, "mean": (0.1, 0.2, 0.3)}, {"normalise": False}])
def test_training_sees_the_pixels_that_evaluation_does(changes):
    from sleuth.training.detection_work import _colours

    preprocess, picture = Preprocess(resize="none", **changes), torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8)
    mean, std = _colours(preprocess)
    seen = normalise_and_pad([picture], mean=mean, std=std).pixels
    assert torch.allclose(seen, preprocess_images([picture], preprocess).pixels, atol=1e-6)
    if not changes:
        assert (mean, std) == (preprocess.mean, preprocess.std)
