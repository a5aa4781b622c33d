"""Which of Sleuth's detectors suits somebody's pictures and machine, how large it sees them, and how it is trained.

Pure: facts in, a choice with its reasons out. The settings of the training are those that were measured on small data
(blood cells); the rules in numbers are in docs/own-pictures.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sleuth.training.facts import DataFacts
from sleuth.training.machine import Machine
from sleuth.training.query_count import queries_for
from sleuth.training.sections import Table

STRIDE = 32
"""Sides of the model's input are multiples of this."""

LEAST_GPU = 6 * 2**30
"""Bytes of a GPU that trains more than the smallest detector."""

SMALL_DATA, LARGE_DATA = 500, 20_000
"""Pictures up to which a GPU trains sleuth-s, and sleuth-m."""

FEW_PICTURES, FEW_OBJECTS, MANY_OBJECTS = 50, 20, 300
SEEN_PX = 10
"""The least side in pixels that a small object should have."""

_CPU_PIXELS, _GPU_PIXELS, _MOST_TIMES = 80_000, 400_000, 4
_CPU_BATCH, _GPU_BATCH, _LEAST_BATCH = 8, 16, 2
_STEPS_AN_EPOCH = 5
_MEMORY_SHARE = 0.5
_PIXEL_BYTES = {"sleuth-n": 850, "sleuth-s": 1450, "sleuth-m": 2650, "sleuth-l": 4500}
"""What a step keeps for each pixel of its input, with the gradients beside it; measured in float32."""

_TURNED = 0.05
_MARGIN = 0.1


@dataclass(frozen=True)
class Choice:
    """A training that suits.

    Args:
        name: the model, a name of the catalog.
        fit: height and width in pixels that training makes pictures fit into.
        shortest: shorter side of a picture at prediction.
        longest: its longer side at most.
        num_queries: the most objects that the model finds.
        epochs: passes over the pictures.
        batch_size: pictures in a step.
        augmentation: the ``[augmentation]`` of the recipe.
        optimizer: its ``[optimizer]``.
        schedule: its ``[schedule]``, of which the warm-up follows from the length of the run.
        run: what of its ``[run]`` does not follow from that.
        reasons: what was chosen and why, in a line each.
        warnings: what to expect of data as this, in a line each.
    """

    name: str
    fit: tuple[int, int]
    shortest: int
    longest: int
    num_queries: int
    epochs: int
    batch_size: int
    augmentation: Table
    optimizer: Table
    schedule: Table
    run: Table
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def preprocess(self) -> Table:
        """The ``[preprocess]`` of the recipe."""
        return {"resize": "shortest", "shortest": self.shortest, "longest": self.longest}


def choose(
    facts: DataFacts,
    machine: Machine,
    *,
    shortest: int | None = None,
    batch_size: int | None = None,
    length: str = "",
    objects_with: Callable[[Table], int] = lambda augmentation: 0,
) -> Choice:
    """The model and the training for these pictures on this machine.

    Args:
        facts: about the pictures.
        machine: where the training will run.
        shortest: shorter side of the pictures in pixels, where somebody has said it.
        batch_size: pictures in a step, likewise.
        length: of the run, likewise, in words; reasons tell it in place of the epochs.
        objects_with: objects that 99 of 100 training pictures hold at most, with such an ``[augmentation]``.
    """
    gpu = machine.gpu_memory is not None
    name, why = _model(facts, machine)
    sides, why_size = _sides(facts, gpu) if shortest is None else (_of_shortest(facts, shortest), "as asked for")
    fit = _fit(facts, sides)
    batch = batch_size or _batch(name, fit, facts, machine)
    crowded = objects_with(augmentation(fit))
    queries, epochs = queries_for(facts.most_objects, crowded), _epochs(facts.pictures, gpu=gpu)
    precision = "bf16-mixed" if machine.fast_bf16 else "32-true"
    seen = f"{min(sides)}x{max(sides)}" if facts.size_hw[0] <= facts.size_hw[1] else f"{max(sides)}x{min(sides)}"
    return Choice(
        name=name,
        fit=fit,
        shortest=min(sides),
        longest=max(sides),
        num_queries=queries,
        epochs=epochs,
        batch_size=batch,
        augmentation=augmentation(fit),
        optimizer=optimizer(name, batch),
        schedule={"kind": "cosine", "floor": 0.02},
        run={"precision": precision, "close_augmentation": 0.15, "workers": _workers(machine)},
        reasons=(
            f"{name}: {why}",
            f"pictures of {_by(facts.size_hw)} are seen at {seen} pixels: {why_size}",
            f"{queries} queries: {_why_queries(facts.most_objects, crowded)}",
            f"{length or f'{epochs} epochs'} of {_count(facts.pictures, 'picture')}, {batch} in a step, {precision}",
        ),
        warnings=tuple(_warnings(facts)),
    )


def _why_queries(most_objects: int, crowded: int) -> str:
    why = f"the fullest picture has {_count(most_objects, 'object')}"
    if queries_for(most_objects, crowded) == queries_for(most_objects):
        return why
    return f"{why}, of training pictures, with mosaics, 1 in 100 has more than {crowded}"


def augmentation(fit: tuple[int, int]) -> Table:
    """What was measured to help small data: flips, mosaics, other scales, other colours."""
    return {
        "fit": list(fit),
        "flip": True,
        "mosaic": 0.5,
        "mosaic_scale": [0.6, 1.4],
        "scale_jitter": [0.7, 1.4],
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.3,
        "hue": 0.03,
    }


def optimizer(name: str, batch_size: int) -> Table:
    """Rates for a detector that starts from nothing: its backbone learns as fast as the rest.

    Muon where it was measured; the larger ones were by AdamW.
    """
    kind, rate = ("muon", 4e-3) if name == "sleuth-n" else ("adamw", 1e-3)
    shared = {"weight_decay": 1e-4, "clip": 1.0, "batch_size": batch_size}
    return {"kind": kind, "rate": rate, "backbone_rate": rate, **shared}


def _model(facts: DataFacts, machine: Machine) -> tuple[str, str]:
    pictures = _count(facts.pictures, "picture")
    if machine.gpu_memory is None:
        return "sleuth-n", f"the smallest, as there is no GPU ({_count(machine.cores, 'core')})"
    memory = f"{machine.gpu_memory / 2**30:.0f} GiB"
    if machine.gpu_memory < LEAST_GPU:
        return "sleuth-n", f"the smallest, as the GPU has {memory} only"
    if facts.pictures < SMALL_DATA:
        return "sleuth-s", f"for a GPU of {memory}; {pictures} do not feed a larger one"
    if facts.pictures <= LARGE_DATA:
        return "sleuth-m", f"for a GPU of {memory} and {pictures}"
    return "sleuth-l", f"the largest, for a GPU of {memory} and {pictures}"


def _sides(facts: DataFacts, gpu: bool) -> tuple[tuple[int, int], str]:
    """Shorter and longer side of the median picture as the model sees it, and why."""
    low, high = min(facts.size_hw), max(facts.size_hw)
    if facts.tiled:
        return (low, high), "tiles at their own pixels"
    usual, native = _GPU_PIXELS if gpu else _CPU_PIXELS, low * high
    wanted = (SEEN_PX / facts.small_share) ** 2
    pixels = min(native, max(usual, min(wanted, _MOST_TIMES * usual)))
    longest = high
    if pixels < native:
        exact = high * math.sqrt(pixels / native)
        # For objects to be seen, it is rounded up.
        steps = math.ceil(exact / STRIDE - _MARGIN) if pixels > usual else round(exact / STRIDE)
        longest = min(high, max(STRIDE, STRIDE * steps))
    sides = max(1, round(longest * low / high)), longest
    small = facts.small_share * math.sqrt(sides[0] * sides[1])
    if longest == high:
        return sides, "their own size"
    if pixels <= usual:
        return sides, f"quick {'on a GPU' if gpu else 'without a GPU'}, small objects are still {small:.0f} pixels wide"
    if small < SEEN_PX - 0.5:
        return sides, f"small objects are {small:.0f} pixels wide even so; tiles (--tile) would show them larger"
    return sides, f"so that small objects are {small:.0f} pixels wide"


def _of_shortest(facts: DataFacts, shortest: int) -> tuple[int, int]:
    """Sides for a shorter side that was asked for; pictures that are long and thin stay within the paper's limit."""
    low, high = min(facts.size_hw), max(facts.size_hw)
    return shortest, min(round(shortest * high / low), max(shortest, round(shortest * 1333 / 800)))


def _fit(facts: DataFacts, sides: tuple[int, int]) -> tuple[int, int]:
    """Height and width that training makes pictures fit into: a square where some are wide and some upright."""
    low, high = (math.ceil(side / STRIDE) * STRIDE for side in sides)
    if facts.turned_share > _TURNED:
        return high, high
    return (low, high) if facts.size_hw[0] <= facts.size_hw[1] else (high, low)


def _batch(name: str, fit: tuple[int, int], facts: DataFacts, machine: Machine) -> int:
    """Pictures in a step: fewer where memory is short, or where an epoch would have only a few steps."""
    free = machine.memory if machine.gpu_memory is None else machine.gpu_memory
    each = _PIXEL_BYTES[name] * fit[0] * fit[1]
    batch = _CPU_BATCH if machine.gpu_memory is None else _GPU_BATCH
    while batch > _LEAST_BATCH and (
        batch * each > _MEMORY_SHARE * free or batch * _STEPS_AN_EPOCH > max(facts.pictures, 4 * _STEPS_AN_EPOCH)
    ):
        batch //= 2
    return batch


def _epochs(pictures: int, *, gpu: bool) -> int:
    """Passes over the pictures: small data is seen often, large data at least sixty times, or on a CPU twelve."""
    if gpu:
        return max(60, min(500, math.ceil(100_000 / pictures)))
    return max(12, min(60, 60_000 // pictures), min(300, math.ceil(30_000 / pictures)))


def _workers(machine: Machine) -> int:
    if machine.gpu_memory is None:
        # Beside a training on two or three cores, a process that prepares data takes more than it brings.
        return min(4, machine.cores // 4)
    return max(1, min(8, machine.cores - 1))


def _warnings(facts: DataFacts) -> list[str]:
    found = []
    if facts.pictures < FEW_PICTURES:
        found.append(f"{_count(facts.pictures, 'picture')}: too few to learn what others show; 50 to 200 more help")
    classes = [(name, count) for name, count in facts.class_counts if count]
    if len(classes) == 1:
        found.append(
            f"a single class, {classes[0][0]!r}: what looks like it counts as one unless pictures show it unmarked"
        )
    rare = sorted(((count, name) for name, count in classes if count < FEW_OBJECTS))
    if rare and len(classes) > 1:
        shown = ", ".join(f"{name!r} {count}" for count, name in rare[:5]) + (", ..." if len(rare) > 5 else "")
        found.append(f"classes with fewer than {FEW_OBJECTS} objects are hardly learned: {shown}")
    if facts.most_objects > MANY_OBJECTS:
        found.append(
            f"a picture has {facts.most_objects:,} objects: so many queries are slow; tiles (--tile 640) have fewer"
        )
    return found


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _by(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[0]}x{size_hw[1]}"
