"""Which core is taken where."""

import pytest
import torch
from torch import nn

from sleuth.nn import deformable_fastest
from sleuth.nn.deformable import MultiScaleDeformableAttention, sampled_attention
from sleuth.nn.deformable_fastest import fastest_attention

GRIDS = ((3, 4), (2, 2))


@pytest.fixture
def taken(monkeypatch) -> list[str]:
    """The cores that were called; each answers as grid sampling."""
    names: list[str] = []
    for name in ("bagged_attention", "triton_attention"):

        def core(*inputs, name=name):
            names.append(name)
            return sampled_attention(*inputs)

        monkeypatch.setattr(deformable_fastest, name, core)
    return names


def attend(value=None):
    value = torch.randn(2, 16, 2, 4) if value is None else value
    locations, weights = torch.rand(2, 5, 2, 3, 2), torch.rand(2, 5, 2, 3)
    return fastest_attention(value, GRIDS, *(x.to(value.device) for x in (locations, weights)), (1, 2))


def test_bags_on_the_processor(taken) -> None:
    attend()
    assert taken == ["bagged_attention"]


def test_grid_sampling_in_a_graph(taken, monkeypatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    attend()
    assert taken == []


def test_grid_sampling_in_a_trace(taken) -> None:
    module = MultiScaleDeformableAttention(dim=8, num_heads=2, num_levels=2, core=fastest_attention)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, queries, tokens):
            return self.module(queries, torch.full((1, 3, 1, 2), 0.5), tokens, GRIDS)

    inputs = torch.randn(1, 3, 8), torch.randn(1, 16, 8)
    exported = torch.export.export(Fixed().eval(), inputs)
    assert taken == []
    torch.testing.assert_close(exported.module()(*inputs), Fixed()(*inputs))
    assert taken == ["bagged_attention"]


def test_grid_sampling_on_other_devices(taken, monkeypatch) -> None:
    monkeypatch.setattr(deformable_fastest, "triton_available", lambda: True)
    attend(torch.empty(2, 16, 2, 4, device="meta"))
    assert taken == []


@pytest.mark.parametrize("case", ["kernels", "deterministic", "large heads", "no triton"])
def test_kernels_on_a_gpu_that_runs_them(monkeypatch, case: str) -> None:
    monkeypatch.setattr(deformable_fastest, "triton_available", lambda: case != "no triton")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: case == "deterministic")

    class OnGpu:
        is_cuda = True
        shape = (2, 16, 2, 512 if case == "large heads" else 32)

    fit = deformable_fastest._kernels_fit
    assert getattr(fit, "__wrapped__", fit)(OnGpu()) == (case == "kernels")


def test_the_module_learns_the_same_by_bags() -> None:
    """Answers and gradients of all parameters."""
    slow = MultiScaleDeformableAttention(dim=16, num_heads=2, num_levels=2, num_points=(2, 3), core=sampled_attention)
    fast = MultiScaleDeformableAttention(dim=16, num_heads=2, num_levels=2, num_points=(2, 3), core=fastest_attention)
    with torch.no_grad():
        for parameter in slow.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    fast.load_state_dict(slow.state_dict())
    queries, tokens, references = torch.randn(2, 5, 16), torch.randn(2, 16, 16), torch.rand(2, 5, 1, 4)
    answers = [module(queries, references, tokens, GRIDS) for module in (slow, fast)]
    torch.testing.assert_close(*answers)
    weigh = torch.randn_like(answers[0])
    for answer in answers:
        (answer * weigh).sum().backward()
    for theirs, ours in zip(slow.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
