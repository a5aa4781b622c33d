"""Training: the whole step in one function."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from torch import nn

from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.training.checkpoint import advance
from sleuth.training.detection_work import DetectionWork
from sleuth.training.meter import loss_vector
from sleuth.training.optimizer import set_rate
from sleuth.training.parts import train_mode
from sleuth.training.progress import Pace
from sleuth.training.recipe import Recipe
from sleuth.training.run import Run, open_run
from sleuth.training.schedule import rate_factor
from sleuth.training.stopping import StopRequest
from sleuth.training.work import BatchLoss, Work

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a model in evaluation mode, by name."""

_SIZES = ("APs", "APm", "APl")
_TOLD = (
    *("AP", "AP50", *_SIZES, "mask AP", "mask AP50", "PQ", "PQ things", "PQ stuff"),
    *("BLEU", "chrF", "exact", "perplexity", "top-1", "top-5", "mIoU"),
)
"""The scores that are told on the way, small, medium and large objects always; metrics.jsonl holds all of them."""

Render = Callable[[nn.Module, Path, int], None]
"""Writes pictures of what a model finds into a folder, after so many steps."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Args:
        folder: the run folder.
        step: optimiser steps taken.
        finished: False if it was stopped by the user and can be resumed.
        best_score: best score of an evaluation, or None without evaluation.
        best_step: the step of that score.
        skipped: steps skipped for a non-finite loss.
        seconds: time spent in training, over all starts.
    """

    folder: Path
    step: int
    finished: bool
    best_score: float | None
    best_step: int
    skipped: int
    seconds: float


def train(
    recipe: Recipe,
    out: Path,
    *,
    source: SampleSource | None = None,
    evaluate: Evaluate | None = None,
    render: Render | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> TrainingResult:
    """Train a recipe's detector and leave a run folder: :func:`train_work` for pictures with boxes.

    Args:
        recipe: the run.
        out: the run folder.
        source: pictures to train on; by default those that the recipe names.
        evaluate: measures scores, in the first process; without it the last weights count as the best.
        render: draws samples at each evaluation, in the first process.
        resume: continue the run in ``out`` from its last saved state, bit for bit on the CPU.
        console: where progress goes.

    Raises:
        UserError: anything the user can mend, from a wrong key to a loss that stays non-finite.
    """
    return train_work(
        DetectionWork(recipe, source), out, evaluate=evaluate, render=render, resume=resume, console=console
    )


def train_work(
    work: Work,
    out: Path,
    *,
    evaluate: Evaluate | None = None,
    render: Render | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> TrainingResult:
    """Train whatever a recipe names and leave a run folder.

    Args:
        work: the recipe and its data.
        out: the run folder.
        evaluate: measures scores, in the first process; without it the last weights count as the best.
        render: draws or writes samples at each evaluation, in the first process.
        resume: continue the run in ``out`` from its last saved state, bit for bit on the CPU.
        console: where progress goes.

    Raises:
        UserError: anything the user can mend, from a wrong key to a loss that stays non-finite.
    """
    with open_run(work, out, resume=resume, console=console) as run, StopRequest() as stop:
        work, recipe, fabric, stopping = run.work, run.recipe, run.fabric, False
        train_mode(run.model)
        while not run.is_over and not stopping:
            factor = rate_factor(
                recipe.schedule,
                run.counters.step,
                total_steps=run.length.total_steps,
                steps_per_unit=run.length.steps_per_unit,
                closing_steps=run.length.closing_steps,
            )
            set_rate(run.optimizer, factor)
            batches = run.next_batches()
            counts = run.counts(batches)
            seen: list[BatchLoss] = []
            for number, batch in enumerate(batches, start=1):
                with run.gradient_sync(number == len(batches)):
                    seen.append(work.loss(run.network, batch, counts, fabric.autocast))
                    fabric.backward(seen[-1].report.total / len(batches))
            losses = torch.stack([loss_vector(each.report) for each in seen]).mean(0)
            norm = run.clip_gradients()
            mean_losses, norm_now, finite, stopping = run.everywhere(losses, norm, stop.requested)
            if finite:
                run.apply_gradients()
                run.meter.add(
                    mean_losses, names=tuple(seen[-1].report.parts), norm=norm_now, amount=run.amount(batches)
                )
            else:
                run.refuse_gradients()
            run.optimizer.zero_grad(set_to_none=True)
            run.counters = advance(run.counters, skipped=not finite)
            if not finite:
                _report_skipped(run, seen)
            _after_step(run, evaluate, render, stopping)
        counters = run.counters
        if stopping and not run.is_over:
            run.progress.note(f"stopped at step {counters.step}; continue with --resume")
        if run.out_of_patience:
            run.progress.note(
                f"ended at step {counters.step}: {recipe.run.score} has not risen in {counters.stale} evaluations"
            )
        return TrainingResult(
            folder=run.folder.path,
            step=counters.step,
            finished=run.is_over,
            best_score=counters.best_score,
            best_step=counters.best_step,
            skipped=counters.skipped,
            seconds=run.seconds,
        )


def _after_step(run: Run, evaluate: Evaluate | None, render: Render | None, stopping: bool) -> None:
    """Log, evaluate and save, each when it is due."""
    settings, step = run.recipe.run, run.counters.step
    settled = run.settle_length()
    run.progress.advance(step)
    measure = run.length.due(step, settings.evaluate_every)
    if step % settings.log_every == 0 or measure or stopping:
        _log(run)
    if measure:
        _evaluate(run, evaluate, render)
    every = settings.checkpoint_every
    if measure or stopping or settled or (every and step % every == 0):
        run.save()


def _log(run: Run) -> None:
    record = run.meter.report(run.stream.wait_seconds)
    if not run.is_main or "loss" not in record:
        return
    step, rate = run.counters.step, run.optimizer.param_groups[0]["lr"]
    seconds_per_step = cast(float, record.pop("seconds_per_step"))
    record = {"step": step, "epoch": round(run.length.epoch(step), 4), "rate": rate} | record
    run.folder.log(record | {"seconds": round(run.seconds, 3)})
    left = run.seconds_left
    if left is None:
        left = (run.length.total_steps - step) * seconds_per_step
    pace = Pace(
        step=step,
        epoch=run.length.epoch(step),
        loss=cast(float, record["loss"]),
        rate=rate,
        speed=cast(float, record[f"{run.work.counted}_per_s"]),
        counted=run.work.counted,
        waiting=cast(float, record["waiting"]),
        seconds_left=left,
    )
    run.progress.show(pace)


def _evaluate(run: Run, evaluate: Evaluate | None, render: Render | None) -> None:
    """Measure scores with the averaged weights if there are any, and keep the best and the last."""
    device = run.fabric.device
    if run.is_main:
        averaged = run.average.in_place_of_weights() if run.average else nullcontext()
        # Whatever random numbers an evaluation takes, the training's own are left alone.
        with averaged, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            run.model.eval()
            scores = dict(evaluate(run.model)) if evaluate is not None else {}
            _keep_best(run, scores)
            run.save_model(run.folder.last, scores=scores)
            if render is not None:
                render(run.model, run.folder.samples, run.counters.step)
            train_mode(run.model)
        _keep_checkpoint(run)
    run.counters = run.fabric.broadcast(run.counters)
    run.meter.pause(run.stream.wait_seconds)


def _keep_checkpoint(run: Run) -> None:
    """Keep the weights as they are, for averaging, and forget the oldest."""
    count = run.recipe.run.keep_checkpoints
    if count:
        run.save_model(run.folder.checkpoint(run.counters.step))
        run.folder.keep_latest(count)


def _keep_best(run: Run, scores: dict[str, float]) -> None:
    step, name = run.counters.step, run.recipe.run.score
    if scores:
        if name not in scores:
            raise UserError(f"there is no score {name!r}", where="run.score", mend=f"choose from: {', '.join(scores)}")
        run.folder.log({"step": step, "epoch": round(run.length.epoch(step), 4), "scores": scores})
        run.progress.note(f"step {step}: {_told(name, scores)}")
        best = run.counters.best_score
        if best is not None and not scores[name] > best:
            run.counters = replace(run.counters, stale=run.counters.stale + 1)
            return
        run.counters = replace(run.counters, best_score=scores[name], best_step=step, stale=0)
    run.save_model(run.folder.best, scores=scores)


def _told(name: str, scores: Mapping[str, float]) -> str:
    """The score that decides and those of `_TOLD`; a dash where the data has no object of that size."""
    told = [key for key in dict.fromkeys((name, *_TOLD)) if key in scores or (key in _SIZES and "AP" in scores)]
    return ", ".join(f"{key} {scores[key]:.4f}" if key in scores else f"{key} -" for key in told)


def _report_skipped(run: Run, seen: Sequence[BatchLoss]) -> None:
    """Name the samples of a step that was skipped; too many such steps in a row end the training."""
    samples = run.gather([sample for each in seen for sample in each.samples()])
    # Where none stands out, any of the step's samples may be the cause.
    names = [name for name, finite in samples if not finite] or [name for name, _ in samples]
    in_a_row = run.counters.skipped_in_a_row
    if run.is_main:
        run.folder.log({"step": run.counters.step, "skipped": names})
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    run.progress.note(f"step {run.counters.step} skipped, its loss is not finite: {shown}")
    if in_a_row < run.recipe.run.max_bad_steps:
        return
    if run.is_main:
        raise UserError(
            f"the loss was not finite in {in_a_row} steps in a row, the last with {shown}",
            where=f"step {run.counters.step}",
            mend="lower optimizer.rate, use precision 32-true, or check the data with `sleuth data check`",
        )
    raise SystemExit(2)
