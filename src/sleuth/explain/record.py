"""Seeing who looks where: record the attention weights of a model while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.attention import AttentionCore, MultiHeadAttention, attention_weights


@dataclass
class AttentionMaps(Mapping[str, Tensor]):
    """Attention weights by the qualified name of the module that made them, each [batch, heads, queries, keys]."""

    entries: dict[str, list[Float[Tensor, "batch heads queries keys"]]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Float[Tensor, "batch heads queries keys"]:
        """The weights of the module's last run; earlier ones stay in ``entries``."""
        if name not in self.entries:
            raise KeyError(f"no attention recorded for {name!r}; there is {sorted(self.entries)}")
        return self.entries[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _recorder(into: list[Tensor]) -> AttentionCore:
    def core(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, dropout: float) -> Tensor:
        if dropout > 0:
            raise RuntimeError("attention with dropout cannot be recorded: call model.eval() first")
        weights = attention_weights(q, k, attend)
        into.append(weights.detach())
        return weights @ v

    return core


@contextmanager
def record_attention(model: nn.Module, *, only: str = "") -> Iterator[AttentionMaps]:
    """Record the attention of every layer while the block runs.

    The recording core stands in for the fused one and is taken out again at the end, whatever happens.

    Args:
        model: whose attention to record.
        only: a part of the module names to record; empty for all.

    Raises:
        ValueError: the model has no such attention, or nothing ran inside the block.
    """
    modules = {n: m for n, m in model.named_modules() if isinstance(m, MultiHeadAttention) and only in n}
    if not modules:
        raise ValueError(f"the model has no attention whose name holds {only!r}")
    maps = AttentionMaps()
    cores = {name: module.core for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.core = _recorder(maps.entries.setdefault(name, []))
        yield maps
    finally:
        for name, module in modules.items():
            module.core = cores[name]
    if not any(maps.entries.values()):
        raise ValueError("no attention was recorded: run the model inside the block")
