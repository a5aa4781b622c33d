"""Adding up losses and times between two lines of the metrics, without making the device wait."""

import math
import time

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.tasks.detection_loss import LossReport


def loss_vector(report: LossReport) -> Float[Tensor, " losses"]:
    """The total and its parts as one vector, so that one transfer or reduction carries them all."""
    return torch.stack([report.total.detach(), *report.parts.values()])


class Meter:
    """Sums over the steps since the last report; losses stay on their device until then.

    Args:
        counted: what speed is told in.
    """

    def __init__(self, counted: str = "pictures") -> None:
        self.counted = counted
        self.names: tuple[str, ...] = ()
        self._begin(0.0)

    def _begin(self, wait_seconds: float) -> None:
        self._sum: Tensor | None = None
        self._norm = 0.0
        self._steps = self._amount = 0
        self._waited_before = wait_seconds
        self._began = time.perf_counter()

    def pause(self, wait_seconds: float) -> None:
        """Begin a new window after something that is not training, such as an evaluation."""
        self._begin(wait_seconds)

    def add(self, losses: Float[Tensor, " losses"], *, names: tuple[str, ...], norm: float, amount: int) -> None:
        """Count one step that was taken.

        Args:
            losses: total and parts, as from :func:`loss_vector`.
            names: of the parts.
            norm: of the gradient, before clipping.
            amount: of what is counted, trained on in this step, over all processes.
        """
        self.names = names
        self._sum = losses if self._sum is None else self._sum + losses
        self._norm += norm
        self._steps += 1
        self._amount += amount

    def report(self, wait_seconds: float) -> dict[str, object]:
        """Means of the window, and a new window; without losses where no step was taken.

        Args:
            wait_seconds: time spent waiting for data since the training began.
        """
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        record: dict[str, object] = {}
        if self._sum is not None:
            total, *parts = (self._sum / self._steps).tolist()
            record |= {"loss": total, "parts": dict(zip(self.names, parts, strict=True))}
            norm = self._norm / self._steps
            record |= {"grad_norm": norm if math.isfinite(norm) else None}
            record |= {f"{self.counted}_per_s": self._amount / elapsed, "seconds_per_step": elapsed / self._steps}
            record |= {"waiting": min(1.0, (wait_seconds - self._waited_before) / elapsed)}
        self._begin(wait_seconds)
        return record
