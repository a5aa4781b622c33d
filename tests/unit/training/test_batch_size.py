"""The number of pictures in a step follows from memory and from the data."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError
from sleuth.training import batch_size
from sleuth.training.assemble import assemble
from sleuth.training.batch_size import choose_batch_size, largest_batch
from sleuth.training.detection_work import DetectionWork
from sleuth.training.run import open_run
from sleuth.training.sources import open_source


@pytest.fixture
def parts(tiny):
    recipe = tiny("data.train_limit=5000")
    source = open_source(recipe, "train")
    return assemble(recipe, source.names).model, source, recipe.augmentation


def chosen(parts, **options) -> int:
    model, source, augmentation = parts
    return choose_batch_size(model, source, augmentation, autocast=nullcontext, **options)


def test_as_many_as_fit_into_memory(parts, monkeypatch):
    sizes = []
    for free in (2**21, 2**24, 2**25, 2**40):
        monkeypatch.setattr(batch_size, "free_memory", lambda free=free: free)
        sizes.append(chosen(parts))
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (2, 32)
    assert len(set(sizes)) > 2


def test_small_data_is_not_taken_in_a_few_steps(parts, monkeypatch):
    monkeypatch.setattr(batch_size, "free_memory", lambda: 2**40)
    model, source, augmentation = parts

    class Few:
        names, category_ids, is_thing, load = source.names, source.category_ids, source.is_thing, source.load

        def __len__(self) -> int:
            return 100

    assert chosen((model, Few(), augmentation)) == 8
    assert chosen((model, Few(), augmentation), processes=2) == 4
    assert chosen((model, Few(), augmentation), processes=16) == 2


def test_the_trial_is_of_the_largest_pictures(parts):
    _, source, _ = parts
    fitted = Augmentation.fitted((64, 96), multi_scale=(0.5, 1.5), mosaic=1.0)
    assert largest_batch(source, fitted, 2)[0].pixels.shape == (2, 3, 96, 144)
    assert largest_batch(source, Augmentation(scales=(32, 80), longest=100), 3)[0].pixels.shape == (3, 3, 80, 80)
    assert largest_batch(source, Augmentation.flip_only(), 1)[0].pixels.shape == (1, 3, 48, 48)


class Gpu:
    """Answers of a GPU on which a picture takes a hundred bytes, and all else fifty."""

    def __init__(self, monkeypatch, most: int = 10**9) -> None:
        self.most, self.pictures, self.peaks = most, 0, []
        answers = {
            "empty_cache": lambda: None,
            "memory_allocated": lambda device: 1000,
            "reset_peak_memory_stats": lambda device: None,
            "max_memory_allocated": lambda device: 1050 + 100 * self.pictures,
            "mem_get_info": lambda device: (4000, 9000),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(batch_size, "_pass", self.take)

    def take(self, model, batch, autocast, device) -> torch.Tensor:
        self.pictures = batch[0].pixels.shape[0]
        if self.pictures > self.most:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return next(model.parameters()).sum()


def test_a_gpu_shows_what_a_picture_takes(parts, monkeypatch):
    Gpu(monkeypatch)
    model, source, augmentation = parts
    each, free = batch_size._measured(model, source, augmentation, nullcontext, torch.device("cpu"))
    assert (each, free) == (100.0, 4000.0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gpu_too_small_for_four_takes_two_and_one_too_small_for_two_says_so(parts, monkeypatch):
    model, source, augmentation = parts
    Gpu(monkeypatch, most=2)
    each, _ = batch_size._measured(model, source, augmentation, nullcontext, torch.device("cpu"))
    assert each == float("inf")
    Gpu(monkeypatch, most=1)
    with pytest.raises(UserError, match="not even two pictures fit"):
        batch_size._measured(model, source, augmentation, nullcontext, torch.device("cpu"))


def test_a_run_keeps_what_was_chosen(tiny, tmp_path: Path, monkeypatch):
    recipe, quiet = tiny("optimizer.batch_size=0", "run.steps=2"), Console(quiet=True)
    with open_run(DetectionWork(recipe), tmp_path / "run", resume=False, console=quiet) as run:
        assert run.recipe.optimizer.batch_size == 4  # of 50 scenes
        assert next(iter(run.stream.epoch(0)))[0].pixels.shape[0] == 4
    assert "batch_size = 4" in (tmp_path / "run" / "recipe.toml").read_text()
    monkeypatch.setattr(batch_size, "MOST", 2)
    torch.manual_seed(1)
    with open_run(DetectionWork(recipe), tmp_path / "run", resume=True, console=quiet) as run:
        assert run.recipe.optimizer.batch_size == 4
