"""What the checkpoints of the original DETR and of its descendants have in common: .pth files, read and written."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.detector import DetectorConfig
from sleuth.models.families import build_detector
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import LoadedModel, detector_card, fill, preprocess_from
from sleuth.weights.keymap import KeyMap
from sleuth.weights.origins.coco_names import THINGS, coco_is_thing, coco_names
from sleuth.weights.origins.fields import Fields
from sleuth.weights.pickles import PickledWeights


def count(tensors: Mapping[str, Tensor], before: str, after: str) -> int:
    """How many keys there are that differ in a number alone, counted from 0."""
    number = 0
    while f"{before}{number}{after}" in tensors:
        number += 1
    return number


def resnet_of(tensors: Mapping[str, Tensor], path: Path, *, prefix: str = "") -> Any:
    """The name of the ResNet under ``backbone.0.body``, by its blocks.

    Raises:
        UserError: there is none that is known.
    """
    body = f"{prefix}backbone.0.body"
    depths = tuple(count(tensors, f"{body}.layer{stage}.", ".conv1.weight") for stage in range(1, 5))
    bottleneck = f"{body}.layer1.0.conv3.weight" in tensors
    known: dict[tuple[tuple[int, ...], bool], str] = {
        ((1, 1, 1, 1), False): "resnet10",
        ((2, 2, 2, 2), False): "resnet18",
        ((3, 4, 6, 3), False): "resnet34",
        ((3, 4, 6, 3), True): "resnet50",
        ((3, 4, 23, 3), True): "resnet101",
    }
    if (depths, bottleneck) not in known:
        kind = "bottleneck" if bottleneck else "basic"
        what = f"a backbone of {kind} blocks {list(depths)} is not supported"
        raise UserError(what, where=path, mend=f"known: {', '.join(known.values())}")
    return known[depths, bottleneck]


def filled(
    config: DetectorConfig,
    keys: KeyMap,
    pickled: PickledWeights,
    path: Path,
    *,
    mend: str,
    loss: DetectionLossConfig | None = None,
    usual: Preprocess | None = None,
) -> LoadedModel:
    """A model with the weights of a checkpoint, ready to answer.

    91 classes are COCO's by its own ids, 80 are COCO's without gaps, 250 those of COCO panoptic; others are LABEL_0,
    LABEL_1, ..., unless `sleuth convert` kept their names.

    Args:
        config: its numbers.
        keys: from the checkpoint's names to ours.
        pickled: what the file holds.
        path: the file, for messages.
        mend: what to do about weights that do not fit.
        loss: what the project trains such a model by, where it is not DETR's.
        usual: how the project prepares pictures, where it is not as for DETR.

    Raises:
        UserError: the weights do not fit the numbers.
    """
    extra = Fields(pickled.args, path).table("sleuth")
    names = _names(extra, config.num_classes)
    card = detector_card(
        config,
        names=names,
        category_ids=_category_ids(extra, config.num_classes),
        preprocess=_preprocess(extra, usual or Preprocess()),
        notes={"origin": "original"},
        is_thing=_is_thing(extra, names),
        loss=loss,
    )
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in build_detector(config).state_dict().items()}
    try:
        ours = keys.load(pickled.tensors, shapes)
    except UserError as error:
        raise UserError(error.what, where=path, mend=mend) from error
    model = build_detector(config)
    fill(model, ours, path)
    return LoadedModel(model.eval(), card)


def write_weights(path: Path, tensors: Mapping[str, Tensor], options: Mapping[str, Any], loaded: LoadedModel) -> None:
    """Write a state dict under ``model``, and options and class names as plain values under ``args``.

    So the file is read without running code.

    Raises:
        UserError: the file cannot be written.
    """
    card = loaded.card
    kept = {
        "names": list(card.names),
        "category_ids": list(card.category_ids),
        "is_thing": list(card.is_thing),
        "preprocess": asdict(loaded.preprocess),
    }
    with atomic_write(path) as temporary:
        torch.save({"model": dict(tensors), "args": {**options, "sleuth": kept}}, temporary)


def _names(extra: Fields, num_classes: int) -> tuple[str, ...]:
    said = extra.any("names")
    if isinstance(said, list) and len(said) == num_classes:
        return tuple(map(str, said))
    if num_classes == len(THINGS):
        return tuple(THINGS.values())
    return coco_names(num_classes) or tuple(f"LABEL_{label}" for label in range(num_classes))


def _category_ids(extra: Fields, num_classes: int) -> tuple[int, ...]:
    usual = list(THINGS) if num_classes == len(THINGS) and "names" not in extra else list(range(num_classes))
    ids = extra.wholes("category_ids", usual)
    return tuple(ids) if len(ids) == num_classes else tuple(range(num_classes))


def _is_thing(extra: Fields, names: tuple[str, ...]) -> tuple[bool, ...]:
    said = extra.any("is_thing")
    if isinstance(said, list) and len(said) == len(names):
        return tuple(map(bool, said))
    return coco_is_thing(names) or ()


def _preprocess(extra: Fields, usual: Preprocess) -> Preprocess:
    """The original's own, unless `sleuth convert` kept another."""
    if "preprocess" not in extra:
        return usual
    try:
        return preprocess_from(extra.table("preprocess").values)
    except (TypeError, ValueError) as error:
        raise extra.fault("preprocess", str(error)) from error
