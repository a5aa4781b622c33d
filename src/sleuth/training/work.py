"""What one training function needs to know of whatever it trains: a detector, a translator, a classifier.

A `Work` is a recipe with its data. It makes the model and the batches, takes the loss of a batch, and writes the model
down; steps, processes, precision, schedules, checkpoints and resuming are the same for all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.tasks.supervision import LossReport
from sleuth.training.optimizer import OptimizerSettings
from sleuth.training.run_settings import RunSettings
from sleuth.training.schedule import ScheduleSettings
from sleuth.training.sections import Table

Autocast = Callable[[], AbstractContextManager[object]]


@runtime_checkable
class RunRecipe(Protocol):
    """What recipes have in common, whatever they train."""

    @property
    def optimizer(self) -> OptimizerSettings:
        """Rates, and how much one pass takes."""
        ...

    @property
    def schedule(self) -> ScheduleSettings:
        """How rates move."""
        ...

    @property
    def run(self) -> RunSettings:
        """Length, seed, precision, processes, and when what is done."""
        ...

    def tables(self) -> dict[str, Table]:
        """The resolved recipe as plain tables, every key written out."""
        ...

    def text(self) -> str:
        """The resolved recipe as TOML."""
        ...


@runtime_checkable
class BatchStream(Protocol):
    """Batches in an order that is a function of the seed, and that can be begun anywhere."""

    close_at: int | None

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for data so far."""
        ...

    def __len__(self) -> int:
        """Batches of one epoch, the same for every process."""
        ...

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Any]:
        """The batches of one epoch from ``start_batch`` on."""
        ...


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch, and whose fault it is if it is not finite.

    Args:
        report: total and parts.
        samples: names each sample of the batch and says whether what belongs to it is finite; called only after a step
            that was skipped.
    """

    report: LossReport
    samples: Callable[[], list[tuple[str, bool]]]


@runtime_checkable
class Work(Protocol):
    """A recipe with its data, ready to be trained."""

    @property
    def recipe(self) -> RunRecipe:
        """The recipe, resolved."""
        ...

    @property
    def counted(self) -> str:
        """What speed is told in: ``pictures`` or ``tokens``."""
        ...

    def examine(self) -> list[str]:
        """See, before any process is started, whether the data can be trained on; what is worth saying, in lines.

        Raises:
            UserError: it cannot; the message names the fault.
        """
        ...

    def reread(self, tables: Mapping[str, Any], where: object) -> RunRecipe:
        """A recipe of the same kind from its tables."""
        ...

    def settled(self, device: torch.device, autocast: Autocast, processes: int) -> "Work":
        """The same work where nothing is left open that depends on the machine: the size of batches.

        Raises:
            UserError: nothing fits.
        """
        ...

    def with_batch_size(self, size: int) -> "Work":
        """The same work with batches of another size."""
        ...

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """The model, its frozen parts frozen, and what was taken from other models, in a line each.

        Its weights are fresh or those that the recipe starts from; resumed weights come later.
        """
        ...

    def stream(self, *, rank: int, world_size: int) -> BatchStream:
        """The batches of one process among several."""
        ...

    def placed(self, batch: Any, device: torch.device) -> Any:
        """A batch on a device, in the layout that is fastest there."""
        ...

    def amount(self, batch: Any) -> int:
        """How much of what is counted a batch holds."""
        ...

    def counts(self, batches: Sequence[Any]) -> Float[Tensor, " counts"]:
        """What losses are divided by, as the mean over a step's batches; averaged over processes before it is used."""
        ...

    def loss(self, network: nn.Module, batch: Any, counts: Float[Tensor, " counts"], autocast: Autocast) -> BatchLoss:
        """The loss of a batch in float32; the network runs in the precision of the run."""
        ...

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Write the model for evaluation and prediction, with these notes in its card."""
        ...
