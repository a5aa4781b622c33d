"""Checkpoints of original projects: .pth files, each read by what its weights are called, and written back."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from sleuth.errors import UserError
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.origins.deformable_detr_original import (
    is_deformable_detr,
    read_deformable_detr,
    write_deformable_detr,
)
from sleuth.weights.origins.detr_original import is_detr, read_detr, write_detr
from sleuth.weights.origins.dfine_original import is_dfine, read_dfine, write_dfine
from sleuth.weights.origins.dino_original import is_dino, read_dino, write_dino
from sleuth.weights.origins.rtdetr_original import is_rtdetr, read_rtdetr, write_rtdetr
from sleuth.weights.pickles import read_pickle


@dataclass(frozen=True)
class Original:
    """A project whose checkpoints are read.

    Args:
        project: its name.
        family: of its models.
        recognises: whether a state dict with such keys is one of its.
        read: from what `read_pickle` gives, and its path, to the model; further arguments say what weights do not show.
        write: from a path and a model; None where its form is only read.
    """

    project: str
    family: str
    recognises: Callable[[Collection[str]], bool]
    read: Callable[..., LoadedModel]
    write: Callable[[Path, LoadedModel], None] | None = None


ORIGINALS: tuple[Original, ...] = (
    Original("facebookresearch/detr", "detr", is_detr, read_detr, write_detr),
    Original(
        "fundamentalvision/Deformable-DETR",
        "deformable-detr",
        is_deformable_detr,
        read_deformable_detr,
        write_deformable_detr,
    ),
    Original("IDEA-Research/DINO", "dino", is_dino, read_dino, write_dino),
    Original("Peterande/D-FINE", "dfine", is_dfine, read_dfine, write_dfine),
    Original("lyuwenyu/RT-DETR", "rtdetr", is_rtdetr, read_rtdetr, write_rtdetr),
)


def open_original(path: Path, **numbers: object) -> LoadedModel:
    """A model from a checkpoint of an original project, ready to answer.

    Args:
        path: a .pth file with the state dict alone, under ``model`` or ``ema``.
        **numbers: what the weights do not show, where the project's reader takes it: ``num_heads`` and ``dilation`` of
            a DETR.

    Raises:
        UserError: the file is missing, broken or would run code, or holds a model of no project that is known.
    """
    path = Path(path)
    pickled = read_pickle(path)
    found = [original for original in ORIGINALS if original.recognises(pickled.tensors.keys())]
    if len(found) != 1:
        names = ", ".join(original.project for original in found or ORIGINALS)
        what = (
            f"the weights may be of more than one project: {names}" if found else "the weights are of no known project"
        )
        mend = "take a folder with config.json, which says what it is" if found else f"known: {names}"
        raise UserError(what, where=path, mend=mend)
    return found[0].read(pickled, path, **numbers)


def write_original(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the code of its family's original project loads it.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: there is no such form, it cannot express the model, or the file cannot be written.
    """
    write = next((each.write for each in ORIGINALS if each.family == loaded.card.architecture and each.write), None)
    if write is None:
        known = ", ".join(each.family for each in ORIGINALS if each.write)
        what = f"a {loaded.card.architecture} cannot be written in the form of an original project"
        raise UserError(what, mend=f"use it with Sleuth; what can be: {known}")
    write(path, loaded)
