"""A running average of the weights, which often finds better boxes than the weights themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a model's floating-point state.

    ``average = decay_now * average + (1 - decay_now) * weights`` after each optimiser step, where ``decay_now`` is
    ``min(decay, (1 + updates) / (10 + updates))``, so that the first, random weights are soon forgotten.

    Args:
        model: the model that is trained; the average starts as a copy of it.
        decay: the share kept in each step, such as 0.9997.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in _floating(model).items()}
        self._sources = list(_floating(model).values())
        self._averages = list(self.tensors.values())

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved average."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])
        self.updates = updates

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Within the block the model holds the average; afterwards its own weights, to the bit."""
        kept = [source.clone() for source in self._sources]
        _copy(self._averages, self._sources)
        try:
            yield
        finally:
            _copy(kept, self._sources)


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _floating(model: nn.Module) -> dict[str, Tensor]:
    # keep_vars=False detaches but shares the storage, so in-place updates of the optimiser are seen here.
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
