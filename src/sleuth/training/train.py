"""Training: the whole step in one function."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor, nn

from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.training.checkpoint import advance
from sleuth.training.meter import loss_vector
from sleuth.training.optimizer import set_rate
from sleuth.training.parts import train_mode
from sleuth.training.progress import Pace
from sleuth.training.recipe import Recipe
from sleuth.training.run import Run, open_run
from sleuth.training.schedule import rate_factor
from sleuth.training.stopping import StopRequest
from sleuth.types import MaskReader, SetPrediction, Target

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a model in evaluation mode, by name."""

_SIZES = ("APs", "APm", "APl")
_TOLD = ("AP", "AP50", *_SIZES, "mask AP", "mask AP50", "PQ", "PQ things", "PQ stuff")
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
    """Train the recipe's model and leave a run folder.

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
    with open_run(recipe, out, source=source, resume=resume, console=console) as run, StopRequest() as stop:
        fabric, stopping = run.fabric, False
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
            counts = run.object_counts(batches)
            losses, seen = [], []
            for number, (images, targets) in enumerate(batches, start=1):
                with run.gradient_sync(number == len(batches)):
                    with fabric.autocast():
                        prediction = run.network(images, targets)
                    report = run.criterion(as_float32(prediction, fabric.autocast), targets, counts)
                    fabric.backward(report.total / len(batches))
                losses.append(loss_vector(report))
                seen.append((prediction, targets))
            norm = run.clip_gradients()
            mean_losses, norm_now, finite, stopping = run.everywhere(torch.stack(losses).mean(0), norm, stop.requested)
            if finite:
                run.apply_gradients()
                run.meter.add(mean_losses, names=tuple(report.parts), norm=norm_now, pictures=run.pictures_per_step)
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
    record = {"step": step, "epoch": round(run.length.epoch(step), 4), "rate": rate} | record
    run.folder.log(record | {"seconds": round(run.seconds, 3)})
    speed, left = cast(float, record["pictures_per_s"]), run.seconds_left
    if left is None:
        left = (run.length.total_steps - step) * run.pictures_per_step / speed
    pace = Pace(
        step=step,
        epoch=run.length.epoch(step),
        loss=cast(float, record["loss"]),
        rate=rate,
        pictures_per_s=speed,
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
    run.counters = run.fabric.broadcast(run.counters)
    run.meter.pause(run.stream.wait_seconds)


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


def _report_skipped(run: Run, seen: Sequence[tuple[SetPrediction, Sequence[Target]]]) -> None:
    """Name the pictures of a step that was skipped; too many such steps in a row end the training."""
    pictures = [picture for prediction, targets in seen for picture in _finite_or_not(prediction, targets)]
    pictures = run.gather(pictures)
    # Where none stands out, any of the step's pictures may be the cause.
    names = [name for name, finite in pictures if not finite] or [name for name, _ in pictures]
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


@torch.no_grad()
def _finite_or_not(prediction: SetPrediction, targets: Sequence[Target]) -> list[tuple[str, bool]]:
    """Each picture's name, and whether its own predictions and boxes are finite."""
    logits, boxes = prediction.logits, prediction.boxes_cxcywh
    finite = (logits.isfinite().all(-1) & boxes.isfinite().all(-1)).all(-1).all(0)
    return [
        (target.name, fine and bool(target.boxes_cxcywh.isfinite().all()))
        for target, fine in zip(targets, finite.tolist(), strict=True)
    ]


def as_float32(prediction: SetPrediction, autocast: Callable[[], AbstractContextManager[object]]) -> SetPrediction:
    """Losses are computed in float32 whatever the precision of the model; masks are read in the model's."""
    if prediction.masks is not None:
        prediction = replace(prediction, masks=partial(_read_masks, prediction.masks, autocast))
    return replace(prediction, **{name: _widened(getattr(prediction, name)) for name in _LOSSES_READ})


_LOSSES_READ = (
    *("logits", "boxes_cxcywh", "memory_logits", "memory_boxes_cxcywh"),
    *("proposals", "denoising", "corners"),
)
"""What of a prediction losses read in float32."""


def _widened(value: Any) -> Any:
    """A tensor, or all tensors of a dataclass and of those within it, in float32 if they are of less."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _widened(getattr(value, field.name)) for field in fields(value)})
    return value


def _read_masks(
    read: MaskReader, autocast: Callable[[], AbstractContextManager[object]], picture: Tensor, query: Tensor
) -> Tensor:
    with autocast():
        return read(picture, query).float()
