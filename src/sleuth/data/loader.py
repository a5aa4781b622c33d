"""Runs a plan of batches through worker processes, or here if there are none."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from sleuth.errors import UserError

Item = TypeVar("Item")
Made = TypeVar("Made")


class _Plan(Generic[Item]):
    """The list of batches that the loader asks for; replaced before each pass."""

    def __init__(self) -> None:
        self.items: Iterator[Item] = iter(())

    def __iter__(self) -> Iterator[Item]:
        return self.items


class Maker(ABC, Dataset[Made | UserError], Generic[Item, Made]):
    """Makes one thing of one item of a plan; runs inside the workers, from which no exception comes back as it was.

    A user's fault is returned, to be raised where the user is.
    """

    @abstractmethod
    def make(self, item: Item) -> Made:
        """What belongs to this item.

        Raises:
            UserError: it cannot be made; the message names the fault.
        """

    def __getitem__(self, item: Item) -> Made | UserError:
        try:
            return self.make(item)
        except UserError as error:
            return error


class Loader(Generic[Item, Made]):
    """Makes what a plan asks for, in its order, and times how long the consumer waits for it.

    Args:
        makers: makes one thing of one item of the plan; a user's fault is returned, to be raised where the user is.
        workers: processes that do so; 0 does it in this process, when it is asked for.
        prefetch: things that each worker makes ahead.

    Attributes:
        wait_seconds: how long the consumer has waited so far.
    """

    def __init__(self, makers: Dataset[Made | UserError], workers: int, prefetch: int) -> None:
        self.makers, self.plan = makers, _Plan[Item]()
        self.wait_seconds = 0.0
        self.loader: DataLoader | None = None
        if workers > 0:
            self.loader = DataLoader(
                makers,
                batch_size=None,
                sampler=self.plan,
                num_workers=workers,
                prefetch_factor=prefetch,
                persistent_workers=True,
                worker_init_fn=_start_worker,
                # Its own generator: the loader must not draw from the one that dropout uses.
                generator=torch.Generator().manual_seed(0),
            )

    def run(self, plan: Iterator[Item]) -> Iterator[Made]:
        """Everything that a plan asks for.

        Raises:
            UserError: the first fault, or a worker was ended by the system.
        """
        self.plan.items = plan
        results = iter(self.loader) if self.loader is not None else (self.makers[item] for item in plan)
        while True:
            start = time.perf_counter()
            try:
                result = next(results, None)
            except RuntimeError as error:
                raise _explained(error) from error
            finally:
                self.wait_seconds += time.perf_counter() - start
            if result is None:
                return
            if isinstance(result, UserError):
                raise result
            yield result


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)


def _explained(error: RuntimeError) -> Exception:
    if "DataLoader worker" in str(error) and "Caught" not in str(error):
        return UserError(
            "a data worker was ended by the system, mostly for want of memory",
            where="data",
            mend="use fewer workers or smaller batches",
        )
    return error
