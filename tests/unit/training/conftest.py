"""A tiny recipe and a model of three layers, for the tests of training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sleuth.training.recipe import Recipe, recipe_from_tables
from sleuth.training.sections import read_toml, set_value

TINY = Path(__file__).parents[2] / "e2e" / "tiny.toml"


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """A function from overrides to the tiny recipe."""

    def recipe(*overrides: str) -> Recipe:
        tables: dict[str, Any] = read_toml(TINY)
        for override in ("run.workers=0", *overrides):
            set_value(tables, override)
        return recipe_from_tables(tables, where="tiny")

    return recipe


class Small(nn.Module):
    """A model with a backbone, something frozen, and buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x).mean((2, 3)))


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def one_step() -> Callable[[nn.Module, torch.optim.Optimizer, int], None]:
    """A function that takes one optimiser step on pictures drawn from a seed."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        pictures = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        model(pictures).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
