"""Sides of a comparison: timed in turns, and the peak memory of each in a process of its own."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import put_between_marks, sentence, write_json

Step = Callable[[], object]
CLOCKS = {"wall": "wall time", "processor": "processor time of the process"}


def seconds(step: Step, device: str) -> tuple[float, float]:
    """Wall time and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def take_turns(
    steps: Mapping[str, Step], repeats: int, device: str, warm_up: int = 1, settle: int = 0
) -> dict[str, list[float]]:
    """Times of all sides by both clocks, A B A B, after some calls each to warm up.

    With ``settle``, so many calls of a side go before each that is timed: it finds its own weights in the processor's
    cache, where one model fits and two do not.
    """
    found: dict[str, list[float]] = {f"{side}_{clock}": [] for side in steps for clock in CLOCKS}
    for repeat in range(repeats + warm_up):
        for side, step in steps.items():
            for _ in range(settle):
                step()
            wall, processor = seconds(step, device)
            if repeat >= warm_up:
                found[f"{side}_wall"].append(wall)
                found[f"{side}_processor"].append(processor)
    return found


def medians(times: Mapping[str, Sequence[float]], sides: Iterable[str], clock: str) -> dict[str, float]:
    """The median of each side by one clock."""
    return {side: statistics.median(times[f"{side}_{clock}"]) for side in sides}


def memory_mib(key: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def peak_mib(make: Callable[[], Step], device: str) -> float:
    """MiB at the peak of two calls above what the process held before: weights, activations, optimiser, caches."""
    torch.ones(8, device=device)
    before = memory_mib("VmRSS")
    step = make()
    step()
    step()
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return memory_mib("VmHWM") - before


def peak_in_a_process(case: str, side: str, words: argparse.Namespace, *more: str) -> float:
    """What the script that runs prints for ``--memory-of CASE SIDE`` in a fresh process, where nothing is left over."""
    command = [sys.executable, sys.argv[0], "--device", words.device, "--threads", str(words.threads), *more]
    done = subprocess.run([*command, "--memory-of", case, side], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def add_options(parser: argparse.ArgumentParser, cases: Sequence[str], *, repeats: int, memory: bool = True) -> None:
    """The words that all comparisons take; those about memory where it is measured."""
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=repeats, help="turns of each side, after those to warm up")
    parser.add_argument("--only", nargs="+", choices=cases, help="only these cases")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="processor on a busy machine")
    if memory:
        parser.add_argument("--no-memory", action="store_true", help="times only")
        parser.add_argument("--no-time", action="store_true", help="memory only")
        parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")


def compared(found: Mapping[str, Any] | None, ratio: float | None, unit: str, digits: int) -> list[str]:
    """Cells of a table: either side's figure and the ratio, or dashes where nothing was measured."""
    if found is None:
        return ["-"] * 3
    return [*(f"{figure:.{digits}f}{unit}" for figure in found.values()), f"{ratio:.2f}"]


def foot(results: Mapping[str, Any], *more: str) -> str:
    """What stands below a table: how often and by which clock, and on which machine."""
    how = ", ".join([f"Medians of {results['repeats']} turns", CLOCKS[results["clock"]], *more])
    return f"{how}. {sentence(results['machine'])}"


def publish(results: Mapping[str, Any], text: str, mark: str, words: argparse.Namespace) -> None:
    """Print the table, and write figures and table where the words say."""
    print(text)
    if words.json:
        write_json(words.json, results)
    if words.markdown:
        put_between_marks(words.markdown, mark, text)
