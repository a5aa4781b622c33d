"""How long a training will take: a few steps on made-up pictures, before it begins."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from sleuth.errors import UserError
from sleuth.tasks.detection import build_criterion
from sleuth.training.assemble import build_model
from sleuth.training.detection_work import as_float32
from sleuth.training.devices import device_kind
from sleuth.training.optimizer import build_optimizer
from sleuth.training.recipe import Recipe
from sleuth.types.batches import ImageBatch, Target

TRIAL_STEPS = 3

_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Pace:
    """How fast a machine trains a recipe's model.

    Args:
        step: seconds of an optimiser step.
        picture: seconds of a picture in an evaluation.
    """

    step: float
    picture: float


def measure_pace(recipe: Recipe, names: tuple[str, ...], *, objects: int, steps: int = TRIAL_STEPS) -> Pace:
    """Take a few steps (forward, loss, backward, weights) on random pictures of the training's size.

    The training itself draws the same random numbers with or without it.

    Args:
        recipe: the run; its ``augmentation.fit`` is the size of the pictures.
        names: the classes.
        objects: in each picture.
        steps: how many are measured, after a first one that is not.

    Raises:
        ValueError: the recipe does not fix the size of its pictures.
        UserError: a step does not fit into the GPU's memory.
    """
    if recipe.augmentation.fit is None:
        raise ValueError("only pictures of one size are tried")
    device = torch.device(device_kind(recipe.run))
    with torch.random.fork_rng(devices=[0] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model = build_model(recipe, names).to(device)
        layout = torch.channels_last if recipe.run.channels_last else torch.preserve_format
        model.to(memory_format=layout)
        criterion = build_criterion(recipe.loss)
        optimizer = build_optimizer(model, recipe.optimizer, fused=recipe.run.precision != "16-mixed")
        images, targets = _made_up(recipe, len(names), objects)
        images = images.to(device)
        images = ImageBatch(images.pixels.contiguous(memory_format=layout), images.valid)
        targets = [target.to(device) for target in targets]
        autocast = _autocast(recipe, device)

        def step() -> None:
            with autocast():
                found = model(images, targets)
            # Whatever random weights make of it, the work is the same.
            criterion(as_float32(found, autocast), targets).total.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def look() -> None:
            with torch.inference_mode():
                model(images)

        model.train()
        try:
            each = _seconds(step, steps, device)
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"a step of {recipe.optimizer.batch_size} pictures does not fit into the memory of the GPU",
                where="optimizer.batch_size",
                mend="give a smaller --batch-size",
            ) from error
        model.eval()
        seen = _seconds(look, 1, device) / len(targets)
    return Pace(step=each * recipe.optimizer.accumulate, picture=seen)


def estimated_minutes(pace: Pace, recipe: Recipe, *, pictures: int, held_out: int) -> float:
    """How long a whole run takes at a pace, evaluations among it.

    Args:
        pace: as measured.
        recipe: says how long, in epochs or steps, and how often it is evaluated.
        pictures: to train on.
        held_out: to evaluate on.
    """
    settings = recipe.run
    per_step = recipe.optimizer.batch_size * recipe.optimizer.accumulate * settings.devices
    steps = settings.steps or settings.epochs * max(1, pictures // per_step)
    evaluations = (
        math.ceil((settings.steps or settings.epochs) / settings.evaluate_every) if settings.evaluate_every else 1
    )
    return (steps * pace.step + evaluations * held_out * pace.picture) / 60


def in_words(minutes: float) -> str:
    """A length of time, as exactly as an estimate is.

    >>> in_words(0.4), in_words(27.6), in_words(200.0), in_words(6000.0)
    ('a minute', '28 minutes', '3.3 hours', '4.2 days')
    """
    if minutes < 1.5:
        return "a minute"
    if minutes < 100:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 48 * 60 else f"{minutes / 60 / 24:.1f} days"


def _made_up(recipe: Recipe, classes: int, objects: int) -> tuple[ImageBatch, list[Target]]:
    """A batch of noise, with so many objects in each picture."""
    assert recipe.augmentation.fit is not None
    shape = recipe.optimizer.batch_size, *recipe.augmentation.fit
    images = ImageBatch(torch.randn(shape[0], 3, *shape[1:]), torch.ones(shape, dtype=torch.bool))
    boxes = 0.3 + 0.4 * torch.rand(shape[0], objects, 4)
    boxes[..., 2:] /= 4
    labels = torch.randint(0, classes, (shape[0], objects))
    return images, [Target(labels=each, boxes_cxcywh=those) for each, those in zip(labels, boxes, strict=True)]


def _autocast(recipe: Recipe, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    dtype = _DTYPES.get(recipe.run.precision)
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


def _seconds(work: Callable[[], None], times: int, device: torch.device) -> float:
    """What the median of so many takes, after a first one that is not counted."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:])[times // 2]
