"""Names of devices."""

import pytest
import torch

from sleuth.errors import UserError
from sleuth.runtime import devices
from sleuth.runtime.devices import available_kinds, choose_device


def test_cpu_is_everywhere():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(" CPU ") == torch.device("cpu")
    assert available_kinds()[-1] == "cpu"


def test_auto_takes_the_fastest(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr(devices, "available_kinds", lambda: ["cpu"])
    assert choose_device("auto") == torch.device("cpu")


def test_numbered_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="the last is cuda:1"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["", "toaster", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "meta", "xla", "cpu cpu"])
def test_other_names(name: str):
    with pytest.raises(UserError, match="device"):
        choose_device(name)


def test_kinds_that_are_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UserError, match="choose from: cpu"):
            choose_device(name)
