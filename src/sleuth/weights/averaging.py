"""One model from several checkpoints of a training: the mean of their weights."""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from sleuth.errors import UserError
from sleuth.weights.architectures import KEY, card_values
from sleuth.weights.checkpoint import read_tensors, save_tensors


def average_files(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of model files of one architecture; the card is the last one's, and notes what was averaged.

    Counters, which are no floating-point numbers, are the last file's. Means are taken in float64.

    Args:
        paths: model files, the latest last; of a detector, a translator or a classifier.
        out: the file to write.

    Raises:
        UserError: fewer than two files, a file that is broken, or files of different models.

    Source: Vaswani et al. 2017, section 6.1; Izmailov et al. 2018, "Averaging weights leads to wider optima and better
    generalization".
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} model files are nothing to average", mend="name two or more")
    *earlier, last = paths
    tensors, metadata = read_tensors(last)
    card = card_values(last, metadata)
    sums = {name: tensor.double() for name, tensor in tensors.items() if tensor.is_floating_point()}
    for path in earlier:
        found, other = read_tensors(path)
        _check_same(card_values(path, other), card, found, tensors, (path, last))
        for name, total in sums.items():
            total += found[name].double()
    means = {name: (total / len(paths)).to(tensors[name].dtype) for name, total in sums.items()}
    if broken := [name for name, mean in means.items() if not bool(mean.isfinite().all())]:
        raise UserError(f"{broken[0]!r} holds values that are not finite", where=last, mend="leave out that checkpoint")
    notes = {**(card.get("notes") or {}), "averaged": [path.name for path in paths]}
    save_tensors(out, {**tensors, **means}, {**metadata, KEY: json.dumps({**card, "notes": notes})})


def _check_same(
    card: dict[str, object],
    wanted_card: dict[str, object],
    tensors: dict[str, Tensor],
    wanted: dict[str, Tensor],
    where: tuple[Path, Path],
) -> None:
    """See that two files hold weights of one model."""
    mend = "average checkpoints of one training"
    for key in ("architecture", "config"):
        if card.get(key) != wanted_card.get(key):
            raise UserError(f"its {key} is not that of {where[1]}", where=where[0], mend=mend)
    shapes, wanted_shapes = ({name: each.shape for name, each in part.items()} for part in (tensors, wanted))
    if shapes != wanted_shapes:
        raise UserError(f"its weights are not those of {where[1]}", where=where[0], mend=mend)


def checkpoints_of(path: Path) -> list[Path]:
    """The model files that a word names: a file itself, or those that a run kept, the earliest first.

    Raises:
        UserError: there are none.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    folder = path / "checkpoints"
    found = sorted(folder.glob("*.safetensors")) or sorted(path.glob("step-*.safetensors"))
    if not found:
        raise UserError("it has kept no checkpoints", where=path, mend="train with --set run.keep_checkpoints=5")
    return found
