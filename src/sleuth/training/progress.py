"""What a person sees while a model trains: a bar in a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


@dataclass(frozen=True)
class Pace:
    """How a training goes at one moment.

    Args:
        step: optimiser steps taken.
        epoch: passes over the data, with the fraction of the present one.
        loss: mean loss since the last report.
        rate: present learning rate.
        speed: how much of what is counted is trained on in a second, over all processes.
        waiting: share of the time spent waiting for data, 0 to 1.
        seconds_left: expected time to the end.
        counted: what is counted.
    """

    step: int
    epoch: float
    loss: float
    rate: float
    speed: float
    waiting: float
    seconds_left: float
    counted: str = "pictures"

    def line(self) -> str:
        """The moment in words."""
        return (
            f"epoch {self.epoch:.2f}  loss {self.loss:.4f}  rate {self.rate:.2e}  "
            f"{self.speed:.1f} {self.counted}/s  waiting {self.waiting:.0%}  left {clock(self.seconds_left)}"
        )


class TrainingProgress:
    """Shows the pace of a training; a context manager.

    Args:
        console: where to; a quiet one shows nothing.
        total_steps: length of the run in optimiser steps; None where it is not known yet.
        start_step: steps already taken, when resuming.
        every_seconds: at most so often a plain line is printed where there is no terminal.
    """

    def __init__(
        self, console: Console, total_steps: int | None, *, start_step: int = 0, every_seconds: float = 10.0
    ) -> None:
        self.console = console
        self.total_steps = total_steps
        self.start_step = start_step
        self.every_seconds = every_seconds
        self._printed_at = float("-inf")
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "TrainingProgress":
        if self.console.is_terminal and not self.console.quiet:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                console=self.console,
                refresh_per_second=2,
            )
            self._task = self._bar.add_task("", total=self.total_steps, completed=self.start_step)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar on."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def set_total(self, total_steps: int) -> None:
        """Say how long the run is, once that is known."""
        self.total_steps = total_steps
        if self._bar is not None:
            self._bar.update(self._task, total=total_steps)

    def show(self, pace: Pace) -> None:
        """Report the pace: beside the bar, or as a line now and then and at the end."""
        if self._bar is not None:
            self._bar.update(self._task, completed=pace.step, description=pace.line())
            return
        now = time.monotonic()
        if now - self._printed_at >= self.every_seconds or pace.step == self.total_steps:
            self._printed_at = now
            of_all = "" if self.total_steps is None else f"/{self.total_steps}"
            self.note(f"step {pace.step}{of_all}  {pace.line()}")

    def note(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """A length of time as people write it.

    >>> clock(5025.0)
    '1:23:45'
    """
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
