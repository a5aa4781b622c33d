"""How long a training will take, and the machine it runs on."""

import time

import pytest
import torch

from sleuth.training import machine
from sleuth.training.machine import this_machine
from sleuth.training.trial import Pace, estimated_minutes, measure_pace


def test_a_trial_tells_the_pace_and_leaves_random_numbers_alone(tiny):
    recipe = tiny("augmentation.scales=[]", "augmentation.crop_prob=0", "augmentation.fit=[64, 64]")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    began = time.perf_counter()
    pace = measure_pace(recipe, ("a", "b"), objects=2, steps=1)
    assert 0 < pace.step < time.perf_counter() - began
    assert 0 < pace.picture < pace.step
    assert torch.equal(torch.rand(3), wanted)


def test_only_a_fixed_size_is_tried(tiny):
    with pytest.raises(ValueError, match="one size"):
        measure_pace(tiny(), ("a",), objects=1)


def test_minutes_of_steps_and_of_evaluations(tiny):
    pace = Pace(step=0.5, picture=0.1)
    recipe = tiny("run.steps=240", "run.evaluate_every=60", "optimizer.batch_size=4")
    assert estimated_minutes(pace, recipe, pictures=100, held_out=30) == pytest.approx((120 + 4 * 3) / 60)
    recipe = tiny("run.steps=0", "run.epochs=10", "run.evaluate_every=0", "optimizer.batch_size=4")
    assert estimated_minutes(pace, recipe, pictures=18, held_out=30) == pytest.approx((10 * 4 * 0.5 + 3) / 60)


def test_the_machine_without_a_gpu():
    here = this_machine("cpu")
    assert here.gpu_memory is None
    assert here.cores >= 1
    assert here.memory > 0


def test_the_machine_with_one(monkeypatch):
    class Card:
        total_memory = 2**34

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    here = this_machine()
    assert (here.gpu_memory, here.fast_bf16) == (2**34, False)
    assert this_machine("cpu").gpu_memory is None


def test_a_processor_says_what_it_is_fast_in(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nflags\t\t: fpu sse avx512_bf16 amx_tile\n")
    flags = machine._processor_flags(info)
    assert "avx512_bf16" in flags
    assert machine._processor_flags(tmp_path / "none") == set()
    monkeypatch.setattr(machine, "_processor_flags", lambda: flags)
    assert this_machine("cpu").fast_bf16
