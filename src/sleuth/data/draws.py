"""Random numbers of augmentation: all from PyTorch's global generator, which the training stream seeds per item."""

from collections.abc import Sequence

import torch


def chance(probability: float) -> bool:
    """True in this share of the cases."""
    return float(torch.rand(())) < probability


def between(low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def uniform(low: float, high: float) -> float:
    """A number from low to high."""
    return low + (high - low) * float(torch.rand(()))


def pick(sizes: Sequence[int]) -> int:
    """One of them."""
    return sizes[between(0, len(sizes) - 1)]
