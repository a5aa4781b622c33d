"""A run under way: the parts that a recipe names, on their devices, and where the run stands."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sleuth.data.shuffled import mix
from sleuth.errors import UserError
from sleuth.training.checkpoint import (
    Counters,
    SavedState,
    generator_states,
    load_state,
    restore_generators,
    restore_state,
    save_state,
)
from sleuth.training.devices import is_main_process, start_fabric
from sleuth.training.ema import WeightAverage
from sleuth.training.environment import describe_environment
from sleuth.training.length import Length, Stopwatch
from sleuth.training.meter import Meter
from sleuth.training.optimizer import build_optimizer
from sleuth.training.processes import agree, mean_over_processes, user_errors_of_lost_peers
from sleuth.training.progress import TrainingProgress
from sleuth.training.run_folder import RunFolder
from sleuth.training.run_settings import differences
from sleuth.training.work import Work

_SECONDS_BETWEEN_CURVES = 60.0


class Run:
    """Everything that a training step touches; :func:`open_run` makes it.

    Args:
        work: what to do, and with which data.
        fabric: this process's devices and precision.
        folder: where results go; only the first process writes.
        console: where words go; quiet in all but the first process.
        saved: the state to continue from, or None.
    """

    def __init__(
        self,
        work: Work,
        *,
        fabric: Fabric,
        folder: RunFolder,
        console: Console,
        saved: SavedState | None,
    ) -> None:
        recipe = work.recipe
        self.work, self.recipe, self.fabric, self.folder, self.console = work, recipe, fabric, folder, console
        torch.manual_seed(recipe.run.seed)
        self.model, self.remarks = work.assemble(resume=saved is not None)
        self.model.to(fabric.device)
        self.optimizer = build_optimizer(self.model, recipe.optimizer, fused=recipe.run.precision != "16-mixed")
        self.average = WeightAverage(self.model, recipe.run.ema_decay) if recipe.run.ema_decay else None
        self.network: nn.Module = fabric.strategy.setup_module(self.model)
        self.stream = work.stream(rank=fabric.global_rank, world_size=fabric.world_size)
        self.meter = Meter(work.counted)
        self.counters = Counters()
        self._scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        # From here on every process draws its own dropout.
        torch.manual_seed(mix(recipe.run.seed, fabric.global_rank))
        if saved is not None:
            self._restore(saved)
        self._set_length()
        self._stopwatch = Stopwatch(recipe.run.minutes)
        self._began = time.perf_counter() - self.counters.seconds
        self._drawn = time.perf_counter()
        self._batches = self._endless()
        total = None if self.length.is_open else self.length.total_steps
        self.progress = TrainingProgress(console, total, start_step=self.counters.step)

    @property
    def is_main(self) -> bool:
        """Whether this process evaluates, writes and speaks."""
        return self.fabric.is_global_zero

    @property
    def out_of_patience(self) -> bool:
        """Whether the best score is too many evaluations old."""
        return 0 < self.recipe.run.patience <= self.counters.stale

    @property
    def is_over(self) -> bool:
        """Whether no step is left to take."""
        return self.counters.step >= self.length.total_steps or self.out_of_patience

    @property
    def seconds_left(self) -> float | None:
        """Of a run in minutes whose steps are not known yet, the seconds that are left; else None."""
        return self.recipe.run.minutes * 60 - self.seconds if self.length.is_open else None

    @property
    def seconds(self) -> float:
        """Time spent in this run, over all starts."""
        return time.perf_counter() - self._began

    def next_batches(self) -> list[Any]:
        """The batches of one step, on this process's device."""
        return [
            self.work.placed(next(self._batches), self.fabric.device) for _ in range(self.recipe.optimizer.accumulate)
        ]

    def counts(self, batches: Sequence[Any]) -> Float[Tensor, " counts"]:
        """What losses are divided by, averaged over the step's batches and over all processes.

        With it, several processes or accumulated batches have the loss and gradient of one large batch.
        """
        counts = self.work.counts(batches)
        return counts if self.fabric.world_size == 1 else mean_over_processes(counts.to(self.fabric.device))

    def amount(self, batches: Sequence[Any]) -> int:
        """How much of what is counted a step holds, over all processes, each taken to have as much as this one."""
        return sum(map(self.work.amount, batches)) * self.fabric.world_size

    def gradient_sync(self, enabled: bool) -> AbstractContextManager[Any]:
        """Exchange gradients between processes in the last pass of a step only."""
        if enabled or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def clip_gradients(self) -> Float[Tensor, ""]:
        """Scale the gradient down to the recipe's largest norm; its norm before."""
        largest = self.recipe.optimizer.clip or math.inf
        return self.fabric.strategy.clip_gradients_norm(
            self.network, self.optimizer, max_norm=largest, error_if_nonfinite=False
        )

    def everywhere(
        self, losses: Float[Tensor, " losses"], norm: Float[Tensor, ""], stopping: bool
    ) -> tuple[Float[Tensor, " losses"], float, bool, bool]:
        """What all processes make of a step, with one wait for the device.

        Returns:
            Losses averaged over processes, the gradient's norm, whether both are finite, whether anyone asked to stop.
        """
        flags = torch.stack([losses[0], norm.to(losses.dtype), losses.new_tensor(float(stopping))])
        if self.fabric.world_size > 1:
            both = mean_over_processes(torch.cat([losses, flags]))
            losses, flags = both[:-3], both[-3:]
        total, norm_now, stop = flags.tolist()
        # In float16 an overflowing gradient is everyday: the scaler skips that step and scales less.
        finite = math.isfinite(total) and (math.isfinite(norm_now) or self._scaler is not None)
        return losses, norm_now, finite, stop > 0

    def apply_gradients(self) -> None:
        """Change the weights, and their average."""
        self.fabric.strategy.optimizer_step(self.optimizer)
        if self.average is not None:
            self.average.update()

    def refuse_gradients(self) -> None:
        """Leave the weights as they are."""
        if self._scaler is not None:
            self._scaler.update()

    def settle_length(self) -> bool:
        """Fix the number of steps of a run in minutes, once its speed is known; whether that was now."""
        if not self.length.is_open:
            return False
        total = self._stopwatch.steps(self.counters.step, self.seconds) if self.is_main else None
        total = self.fabric.broadcast(total)
        if total is None:
            return False
        self.counters = replace(self.counters, total_steps=max(total, self.counters.step))
        self._set_length()
        self.progress.set_total(self.length.total_steps)
        self.progress.note(f"{self.recipe.run.minutes:g} minutes are {self.length.total_steps} steps on this machine")
        return True

    def _set_length(self) -> None:
        self.length = Length.of(self.recipe, len(self.stream), self.counters.total_steps)
        self.stream.close_at = self.length.closing_batch

    def save(self) -> None:
        """Save the state to resume from."""
        states = generator_states(self.fabric.global_rank, self.fabric.device)
        generators: dict[str, Tensor] = {}
        for part in self._gathered(states):
            generators |= part
        self.counters = replace(self.counters, seconds=self.seconds)
        if self.is_main:
            save_state(
                self.folder.state,
                counters=self.counters,
                recipe=self.recipe.tables(),
                model=self.model,
                optimizer=self.optimizer,
                average=self.average,
                generators=generators,
                scaler={} if self._scaler is None else self._scaler.state_dict(),
                processes=self.fabric.world_size,
            )
            if time.perf_counter() - self._drawn > _SECONDS_BETWEEN_CURVES or self.is_over:
                self.folder.draw()
                self._drawn = time.perf_counter()

    def save_model(self, path: Path, **notes: object) -> None:
        """Save the model as it is now for evaluation and prediction."""
        self.work.save_model(path, self.model, step=self.counters.step, **notes)

    def _gathered(self, value: Any) -> list[Any]:
        if self.fabric.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def gather(self, values: list[Any]) -> list[Any]:
        """The values of all processes, in their order."""
        return [value for part in self._gathered(values) for value in part]

    def _endless(self) -> Iterator[Any]:
        epoch, batch = self.length.place(self.counters.step)
        while True:
            yield from self.stream.epoch(epoch, batch)
            epoch, batch = epoch + 1, 0

    def _restore(self, saved: SavedState) -> None:
        if saved.processes != self.fabric.world_size:
            raise UserError(
                f"the run was trained by {saved.processes} processes, not {self.fabric.world_size}",
                where=self.folder.path,
                mend=f"resume it with --devices {saved.processes}",
            )
        restore_state(saved, where=self.folder.state, model=self.model, optimizer=self.optimizer, average=self.average)
        restore_generators(saved, self.fabric.global_rank, self.fabric.device)
        if self._scaler is not None and saved.scaler:
            self._scaler.load_state_dict(saved.scaler)
        self.counters = saved.counters


@contextmanager
def open_run(work: Work, out: Path, *, resume: bool, console: Console | None) -> Iterator[Run]:
    """Start the processes and set up everything that a training step touches.

    Raises:
        UserError: the folder, the device, the data or the model is not as it has to be.
    """
    folder = RunFolder(out)
    # What can be seen to be wrong at once is said before other processes are started.
    notes = work.examine() if is_main_process() else []
    fabric = start_fabric(work.recipe.run)
    with user_errors_of_lost_peers(fabric):
        agree(fabric, lambda: _check(work, folder, resume=resume))
        saved = load_state(folder.state) if resume else None
        if not work.recipe.optimizer.batch_size:
            work = _with_batch_size(work, fabric, saved)
            chosen = work.recipe.optimizer.batch_size
            notes.append(f"optimizer.batch_size is {chosen}: what memory and data allow")
        quiet = not fabric.is_global_zero
        console = Console(quiet=True) if quiet else (console or Console(stderr=True))
        run = Run(work, fabric=fabric, folder=folder, console=console, saved=saved)
        environment = describe_environment(fabric.device, processes=fabric.world_size)
        agree(fabric, lambda: _begin(run, environment, resume=resume))
        if saved is None:
            run.save()
        try:
            for note in (*notes, *run.remarks):
                run.progress.note(note)
            with run.progress:
                yield run
        finally:
            folder.close()


def _with_batch_size(work: Work, fabric: Fabric, saved: SavedState | None) -> Work:
    """The work with the size of a batch that it leaves open: that of the saved state, or one that fits.

    Raises:
        UserError: none fits.
    """
    chosen = [0 if saved is None else int(saved.recipe["optimizer"]["batch_size"])]

    def choose() -> None:
        chosen[0] = work.settled(fabric.device, fabric.autocast, fabric.world_size).recipe.optimizer.batch_size

    if not chosen[0]:
        agree(fabric, choose)
    return work.with_batch_size(fabric.broadcast(chosen[0]))


def _check(work: Work, folder: RunFolder, *, resume: bool) -> None:
    """See that the run folder, and the state in it, suit the recipe."""
    folder.check(resume=resume)
    if not resume:
        return
    # Read as a recipe, it has the keys that came later, with their defaults.
    begun = work.reread(load_state(folder.state).recipe, folder.state)
    changed = differences(begun.tables(), work.recipe.tables())
    if changed:
        name, (before, now) = next(iter(changed.items()))
        raise UserError(
            f"the run was begun with {name} = {before}, the recipe now says {now}",
            where=folder.path,
            mend=f"resume with {folder.recipe}, or begin another run with --out",
        )


def _begin(run: Run, environment: dict[str, object], *, resume: bool) -> None:
    """Write what is known before the first step, or drop what will be done again."""
    if resume:
        run.folder.continue_at(run.counters.step)
    else:
        run.folder.begin(run.recipe.text(), environment)
    if run.recipe.run.tensorboard:
        run.folder.open_board(run.counters.step)
