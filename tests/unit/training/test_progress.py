"""What is shown while a model trains, and how it is added up."""

import io
import time

import pytest
import torch
from rich.console import Console

from sleuth.training.meter import Meter
from sleuth.training.progress import Pace, TrainingProgress, clock


def pace(step: int) -> Pace:
    return Pace(
        step=step,
        epoch=1.5,
        loss=2.25,
        rate=1e-4,
        speed=12.3,
        waiting=0.07,
        seconds_left=61.0,
    )


def shown(terminal: bool, every_seconds: float = 0.0) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160)
    with TrainingProgress(console, 10, every_seconds=every_seconds) as progress:
        for step in range(1, 11):
            progress.advance(step)
            progress.show(pace(step))
        progress.note("step 10: AP [0.5]")
    return out.getvalue()


def test_plain_lines_where_there_is_no_terminal():
    lines = shown(terminal=False).splitlines()
    assert lines[0] == ("step 1/10  epoch 1.50  loss 2.2500  rate 1.00e-04  12.3 pictures/s  waiting 7%  left 0:01:01")
    assert len(lines) == 11
    assert lines[-1] == "step 10: AP [0.5]"


def test_plain_lines_are_few_but_the_last_is_there():
    lines = shown(terminal=False, every_seconds=1000.0).splitlines()
    assert [line.split()[1] for line in lines] == ["1/10", "10/10", "10:"]


def test_a_bar_in_a_terminal():
    text = shown(terminal=True)
    for word in ("training", "10/10", "loss 2.2500", "pictures/s", "waiting 7%", "left 0:01:01", "AP [0.5]"):
        assert word in text


def test_a_quiet_console_shows_nothing(capsys):
    with TrainingProgress(Console(quiet=True, force_terminal=True), 10) as progress:
        progress.show(pace(1))
        progress.note("x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00:00"), (59.6, "0:01:00"), (5025.0, "1:23:45"), (-3.0, "0:00:00")]
)
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text


def test_meter_gives_means_and_begins_again():
    meter = Meter()
    for total in (2.0, 4.0):
        meter.add(torch.tensor([total, 1.0, 3.0]), names=("class", "l1"), norm=total, amount=8)
    time.sleep(0.01)
    record = meter.report(wait_seconds=0.005)
    assert (record["loss"], record["parts"], record["grad_norm"]) == (3.0, {"class": 1.0, "l1": 3.0}, 3.0)
    assert 0 < record["pictures_per_s"] <= 1600
    assert 0 < record["waiting"] <= 0.5
    assert "loss" not in meter.report(wait_seconds=0.005)
