"""Seeing who looks where: record the attention of a model while it runs.

Dense attention looks at every token, and is recorded as a map of weights; deformable attention looks at a few points,
and is recorded as these points and their weights. The two are different types, since they answer different questions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.attention import Attention, AttentionCore, WeighingCore, attention_weights
from sleuth.nn.deformable import DeformableCore, Grids, MultiScaleDeformableAttention
from sleuth.types.memory import TokenGrid


@dataclass(frozen=True)
class SampledAttention:
    """The points that a deformable attention looked at.

    Args:
        locations: x and y of each point, 0 to 1 over its level's (padded) width and height; level after level.
        weights: of each point; they sum to one over the points of a query and head.
        grids_hw: height and width of each level.
        num_points: how many of the points lie on each level.
    """

    locations: Float[Tensor, "batch queries heads points 2"]
    weights: Float[Tensor, "batch queries heads points"]
    grids_hw: Grids
    num_points: tuple[int, ...]


Recorded = Float[Tensor, "batch heads queries keys"] | SampledAttention
"""Weights of dense attention, or the points of deformable attention."""


@dataclass
class AttentionMaps(Mapping[str, Recorded]):
    """Attention by the qualified name of the module that made it."""

    entries: dict[str, list[Recorded]] = field(default_factory=dict)

    @property
    def dense(self) -> dict[str, Float[Tensor, "batch heads queries keys"]]:
        """The weights of every dense attention's last run."""
        return {name: last for name, last in self._last() if isinstance(last, Tensor)}

    @property
    def sampled(self) -> dict[str, SampledAttention]:
        """The points of every deformable attention's last run."""
        return {name: last for name, last in self._last() if isinstance(last, SampledAttention)}

    def _last(self) -> Iterator[tuple[str, Recorded]]:
        return ((name, runs[-1]) for name, runs in self.entries.items() if runs)

    def __getitem__(self, name: str) -> Recorded:
        """What the module's last run looked at; earlier ones stay in ``entries``."""
        if name not in self.entries:
            raise KeyError(f"no attention recorded for {name!r}; there is {sorted(self.entries)}")
        return self.entries[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class _Recorder:
    """Stands in for a dense core: the same weights, written out and kept."""

    def __init__(self, into: list[Recorded], core: AttentionCore) -> None:
        self.into = into
        self.core = core

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, dropout: float) -> Tensor:
        if dropout > 0:
            raise RuntimeError("attention with dropout cannot be recorded: call model.eval() first")
        weigh = self.core.weights if isinstance(self.core, WeighingCore) else attention_weights
        weights = weigh(q, k, attend)
        self.into.append(weights.detach())
        return weights @ v

    def on(self, grid: TokenGrid) -> "_Recorder":
        """The same on a grid, as its core is asked to be."""
        return _Recorder(self.into, self.core.on(grid))  # type: ignore[attr-defined]


def _point_recorder(into: list[Recorded], read: DeformableCore) -> DeformableCore:
    """The points are there before any core reads values at them: it goes on doing so."""

    def core(value: Tensor, grids_hw: Grids, locations: Tensor, weights: Tensor, num_points: tuple[int, ...]) -> Tensor:
        into.append(SampledAttention(locations.detach(), weights.detach(), grids_hw, num_points))
        return read(value, grids_hw, locations, weights, num_points)

    return core


@contextmanager
def record_attention(model: nn.Module, *, only: str = "") -> Iterator[AttentionMaps]:
    """Record the attention of every layer while the block runs, dense or deformable.

    Recording cores stand in for the modules' own and are taken out again at the end, whatever happens.

    Args:
        model: whose attention to record.
        only: a part of the module names to record; empty for all.

    Raises:
        ValueError: the model has no such attention, or nothing ran inside the block.
    """
    kinds = (Attention, MultiScaleDeformableAttention)
    modules = {n: m for n, m in model.named_modules() if isinstance(m, kinds) and only in n}
    if not modules:
        raise ValueError(f"the model has no attention whose name holds {only!r}")
    maps = AttentionMaps()
    cores = {name: module.core for name, module in modules.items()}
    try:
        for name, module in modules.items():
            into = maps.entries.setdefault(name, [])
            if isinstance(module, Attention):
                module.core = _Recorder(into, module.core)
            else:
                module.core = _point_recorder(into, module.core)
        yield maps
    finally:
        for name, module in modules.items():
            module.core = cores[name]
    if not any(maps.entries.values()):
        raise ValueError("no attention was recorded: run the model inside the block")
