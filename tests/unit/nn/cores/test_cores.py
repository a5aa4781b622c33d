"""Every core is the sum that its formula says, with every mask; what it tells of its weights is what it brings home."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sleuth.nn.attention import explicit_attention
from sleuth.nn.cores.linear import LinearAttention
from sleuth.nn.cores.neighbourhood import NeighbourhoodAttention, neighbourhood_mask
from sleuth.nn.cores.sigmoid import SigmoidAttention
from sleuth.nn.cores.windows import WindowAttention
from sleuth.types.memory import TokenGrid

TOKENS = 5 * 9 + 2
GRID = TokenGrid(5, 9, 2)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heads(tokens: int = TOKENS) -> tuple[Tensor, Tensor, Tensor]:
    return draw(2, 3, tokens, 4, seed=0), draw(2, 3, tokens, 4, seed=1), draw(2, 3, tokens, 4, seed=2)


def masks(tokens: int = TOKENS) -> dict[str, Tensor | None]:
    keys = draw(2, 1, 1, tokens, seed=3) > -0.5
    pairs = draw(2, 1, tokens, tokens, seed=4) > 0
    pairs[1, 0, 3] = False  # one query may look at nothing
    return {"none": None, "keys": keys, "shared keys": keys[:1], "keys by head": draw(2, 3, 1, tokens, seed=5) > -0.5,
            "pairs": pairs}  # fmt: skip


def one_by_one(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, weigh: Callable[..., list[float]]) -> Tensor:
    """The sum for each query in plain loops; ``weigh`` is given the query, its place, and the keys that it may see."""
    out = torch.zeros_like(q)
    batch, num_heads, queries, _ = q.shape
    keys = k.shape[2]
    seen = torch.ones(1, dtype=torch.bool) if attend is None else attend
    seen = seen.expand(batch, num_heads, queries, keys)
    for b, h, i in itertools.product(range(batch), range(num_heads), range(queries)):
        allowed = [j for j in range(keys) if seen[b, h, i, j]]
        for j, weight in zip(allowed, weigh(q[b, h, i], i, k[b, h], allowed), strict=True):
            out[b, h, i] += weight * v[b, h, j]
    return out


def sigmoid_weights(q: Tensor, i: int, k: Tensor, allowed: list[int]) -> list[float]:
    return [1 / (1 + math.exp(-(float(q @ k[j]) / 2 - math.log(len(allowed))))) for j in allowed]


def linear_weights(q: Tensor, i: int, k: Tensor, allowed: list[int]) -> list[float]:
    def phi(x: Tensor) -> Tensor:
        return torch.tensor([1 + e if e > 0 else math.exp(e) for e in x.tolist()], dtype=torch.float64)

    products = [float(phi(q) @ phi(k[j])) for j in allowed]
    return [product / sum(products) for product in products]


def softmax_weights(q: Tensor, k: Tensor, near: list[int], allowed: list[int]) -> list[float]:
    exps = {j: math.exp(float(q @ k[j]) / 2) for j in near}
    return [exps[j] / sum(exps.values()) if j in exps else 0.0 for j in allowed]


def window_weights(q: Tensor, i: int, k: Tensor, allowed: list[int]) -> list[float]:
    return softmax_weights(q, k, [j for j in allowed if abs(i - j) <= 4], allowed)


def neighbourhood_weights(q: Tensor, i: int, k: Tensor, allowed: list[int]) -> list[float]:
    def place(token: int) -> tuple[int, int]:
        return divmod(token - 2, 9)

    def near(j: int) -> bool:
        if i < 2 or j < 2:
            return True
        (y, x), (other_y, other_x) = place(i), place(j)
        return abs(y - other_y) <= 1 and abs(x - other_x) <= 1

    return softmax_weights(q, k, [j for j in allowed if near(j)], allowed)


CORES = {
    "sigmoid": (SigmoidAttention(), sigmoid_weights),
    "linear": (LinearAttention(), linear_weights),
    "window": (WindowAttention(4), window_weights),
    "neighbourhood": (NeighbourhoodAttention(1).on(GRID), neighbourhood_weights),
}


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("name", CORES)
def test_a_core_is_its_formula(name: str, mask: str) -> None:
    core, weigh = CORES[name]
    q, k, v = heads()
    attend = masks()[mask]
    expected = one_by_one(q, k, v, attend, weigh)
    torch.testing.assert_close(core(q, k, v, attend), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(core.weights(q, k, attend) @ v, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mask", ["none", "keys", "pairs"])
@pytest.mark.parametrize(("length", "radius"), [(200, 3), (131, 40), (97, 0), (64, 5), (30, 50)])
def test_windows_in_blocks_are_windows_by_a_mask(length: int, radius: int, mask: str) -> None:
    core = WindowAttention(radius)
    q, k, v = heads(length)
    attend = masks(length)[mask]
    whole = core.mask(length) if attend is None else core.mask(length) & attend
    torch.testing.assert_close(core(q, k, v, attend), explicit_attention(q, k, v, whole), rtol=0, atol=1e-9)


@pytest.mark.parametrize("mask", ["none", "keys", "pairs"])
@pytest.mark.parametrize("radius", [0, 1, 2, 7])
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_neighbourhoods_by_rows_are_neighbourhoods_by_a_mask(prefix: int, radius: int, mask: str) -> None:
    grid = TokenGrid(6, 4, prefix)
    q, k, v = heads(24 + prefix)
    attend = masks(24 + prefix)[mask]
    near = neighbourhood_mask(grid, radius)
    whole = near if attend is None else near & attend
    found = NeighbourhoodAttention(radius).on(grid)(q, k, v, attend)
    torch.testing.assert_close(found, explicit_attention(q, k, v, whole), rtol=0, atol=1e-9)


def test_a_neighbourhood_without_a_grid_is_what_the_mask_says() -> None:
    q, k, v = heads()
    attend = masks()["pairs"]
    torch.testing.assert_close(NeighbourhoodAttention(1)(q, k, v, attend), explicit_attention(q, k, v, attend))


def test_sigmoid_weights_start_at_a_sum_of_about_one() -> None:
    q, k, _ = heads()
    sums = SigmoidAttention().weights(q * 0, k).sum(-1)
    assert sums.min() > 0.9
    assert sums.max() <= 1
    assert SigmoidAttention(bias=0.0).weights(q * 0, k).sum(-1).min() > 20


def test_linear_attention_has_nothing_to_drop() -> None:
    with pytest.raises(ValueError, match="attention_dropout = 0"):
        LinearAttention()(*heads(), None, 0.1)


@pytest.mark.parametrize("name", CORES)
def test_dropout_thins_the_weights(name: str) -> None:
    if name == "linear":
        return
    q, k, v = heads()
    core, _ = CORES[name]
    assert not torch.allclose(core(q, k, v, None, 0.5), core(q, k, v, None, 0.0))


@pytest.mark.parametrize("name", CORES)
def test_gradients_flow_through_masks(name: str) -> None:
    leaves = [x.requires_grad_() for x in heads()]
    CORES[name][0](*leaves, masks()["pairs"]).square().sum().backward()
    assert all(bool(leaf.grad.isfinite().all()) and leaf.grad.abs().sum() > 0 for leaf in leaves)
