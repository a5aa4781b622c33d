"""Choosing where a model runs."""

import re

import torch

from sleuth.errors import UserError

_FORM = re.compile(r"(auto|cpu|cuda|mps)(:(\d+))?")


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` takes a GPU if there is one.

    Args:
        name: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: there is no such kind of device, or none on this machine.
    """
    match = _FORM.fullmatch(name.strip().lower())
    if match is None or (match[3] and match[1] != "cuda"):
        raise UserError(f"there is no kind of device {name!r}", where="--device", mend="choose auto, cpu, cuda or mps")
    kind, number = match[1], int(match[3] or 0)
    here = available_kinds()
    if kind == "auto":
        return torch.device(here[0])
    if kind not in here:
        raise UserError(
            f"there is no {kind} device on this machine", where="--device", mend=f"choose from: {', '.join(here)}"
        )
    if kind == "cuda" and number >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(f"there is no cuda:{number}, the last is cuda:{count - 1}", where="--device")
    return torch.device(f"cuda:{number}" if match[3] else kind)


def available_kinds() -> list[str]:
    """The kinds of device that this machine has, the fastest first."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, there in available.items() if there]
