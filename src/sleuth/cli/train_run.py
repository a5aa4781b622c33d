"""A training from the command line, whatever it trains: it is run, and said what came out and how to go on."""

from collections.abc import Sequence
from pathlib import Path

from sleuth.cli.console import tell
from sleuth.training.devices import is_main_process
from sleuth.training.run_folder import RunFolder, next_run_folder
from sleuth.training.train import Evaluate, Render, TrainingResult, train_work
from sleuth.training.work import Work

INTERRUPTED = 130


def run_folder(out: Path | None, name: str) -> RunFolder:
    """The folder that is asked for, or else a new one in runs/ that is called after the recipe or the data."""
    return RunFolder(out or next_run_folder(Path("runs"), name))


def run_and_tell(
    work: Work,
    folder: RunFolder,
    *,
    evaluate: Evaluate | None,
    render: Render,
    resume: bool,
    measure: str,
    use: str,
    remarks: Sequence[str] = (),
) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end.

    Args:
        work: the recipe and its data.
        folder: where the run is written.
        evaluate: measures scores; None where there is no split to measure on.
        render: draws or writes samples.
        resume: continue the run in this folder.
        measure: the words after ``sleuth`` that measure the best model again.
        use: those that use it.
        remarks: lines about what was chosen, told now that nothing is wrong with it.
    """
    for remark in remarks if is_main_process() else ():
        tell(remark)
    if evaluate is None and is_main_process():
        tell("no split to measure on: no scores, and the last weights count as the best")
    result = train_work(work, folder.path, evaluate=evaluate, render=render, resume=resume)
    if is_main_process():
        _say_what_came_out(result, work.recipe.run.score, measure, use)
    return 0 if result.finished else INTERRUPTED


def _say_what_came_out(result: TrainingResult, score: str, measure: str, use: str) -> None:
    if not result.finished:
        tell(f"  sleuth train --resume --out {result.folder}")
        return
    best = "" if result.best_score is None else f", best {score} {result.best_score:.4f}"
    skipped = f", {result.skipped} steps skipped" if result.skipped else ""
    tell(f"finished at step {result.step} after {result.seconds:.0f} s{best}{skipped}: {result.folder}")
    if result.best_score is not None:
        tell(f"  sleuth {measure}")
    tell(f"  sleuth {use}")
