"""Models in Hugging Face's form: a folder with config.json, preprocessor_config.json and weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.detr import build_detr
from sleuth.weights.checkpoint import LoadedModel, detector_card, fill, read_tensors
from sleuth.weights.hub import CONFIG, WEIGHTS, shards_of
from sleuth.weights.maps.detr_huggingface import detr_huggingface
from sleuth.weights.origins.coco_names import coco_is_thing, named_as_coco_panoptic
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_config import SEGMENTATION, check_model_type, read_config, read_loss
from sleuth.weights.pickles import read_pickle
from sleuth.weights.processors import CONFIG_NAME as PROCESSOR
from sleuth.weights.processors import read_processor

_HEAD = "class_labels_classifier.bias"


def open_folder(folder: Path) -> LoadedModel:
    """A model in Hugging Face's form, from a folder of this machine, ready to answer.

    Class names come from ``id2label``; without it they are LABEL_0, LABEL_1, ... as there, and those that the published
    panoptic models leave unnamed in this way get COCO's names. Category ids are the labels
    themselves, unless the folder was written by `sleuth convert`, which keeps the model's own.

    Args:
        folder: with config.json, with model.safetensors or pytorch_model.bin, whole or in shards, and perhaps with
            preprocessor_config.json; without that, Hugging Face's preprocessing of DETR holds.

    Raises:
        UserError: a file is missing or broken, another architecture, a field that cannot be honoured, or weights that
            do not fit the configuration.
    """
    folder = Path(folder)
    where = folder / CONFIG
    values = _read_object(where)
    check_model_type(values, where)
    processor = folder / PROCESSOR
    preprocess = read_processor(_read_object(processor) if processor.is_file() else {}, processor)
    tensors, file = _read_weights(folder)
    masks = _has_masks(values, tensors)
    head = tensors.get(f"detr.{_HEAD}" if masks else _HEAD)
    if head is None or head.dim() != 1 or len(head) < 2:
        raise UserError("the weights hold no class head", where=file, mend="take a model that was trained to detect")
    num_classes = len(head) - 1
    config, backbone = read_config(values, where, num_classes=num_classes, masks=masks)
    names = _names(values, num_classes, where)
    if masks:
        names = named_as_coco_panoptic(names) or names
    extra = Fields(values, where).table("sleuth")
    card = detector_card(
        config,
        names=names,
        category_ids=_category_ids(extra, num_classes),
        preprocess=preprocess,
        notes={"origin": "huggingface", "loss": read_loss(values, where)},
        is_thing=_is_thing(extra, names),
    )
    keys = detr_huggingface(backbone=backbone.kind, masks=masks, stages=config.backbone_stages)
    with torch.device("meta"):
        # Shapes are compared before room is made for a model that a broken configuration describes.
        shapes = {key: tensor.shape for key, tensor in build_detr(config).state_dict().items()}
    try:
        ours = keys.load(tensors, shapes)
    except UserError as error:
        raise UserError(error.what, where=file, mend=f"check whether {CONFIG} belongs to these weights") from error
    model = build_detr(config)
    fill(model, ours, file)
    return LoadedModel(model.eval(), card)


def check_config(folder: Path) -> None:
    """Look at a folder's config.json alone, before its weights are there.

    Raises:
        UserError: it is missing or broken, another architecture, or a field that cannot be honoured.
    """
    where = Path(folder) / CONFIG
    values = _read_object(where)
    check_model_type(values, where)
    read_config(values, where, num_classes=1, masks=SEGMENTATION in (values.get("architectures") or ()))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"this folder holds no {path.name}", where=path.parent, mend="name a model's folder") from None
    except PermissionError as error:
        raise UserError("no permission to read", where=path, mend="change its permissions") from error
    except (OSError, ValueError) as error:
        raise UserError(f"not readable JSON ({error})", where=path, mend="copy or download it again") from error
    if not isinstance(values, dict):
        raise UserError("holds no JSON object", where=path, mend="copy or download it again")
    return values


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """The state dict of a folder, and the file to name in messages."""
    for name in WEIGHTS:
        path, index = folder / name, folder / f"{name}.index.json"
        if path.is_file():
            return _read(path), path
        if index.is_file():
            tensors: dict[str, Tensor] = {}
            for shard in shards_of(index):
                found = _read(folder / shard)
                if twice := sorted(found.keys() & tensors.keys()):
                    raise UserError(f"{twice[0]!r} is in two shards", where=index, mend="copy or download them again")
                tensors |= found
            return tensors, index
    raise UserError(f"this folder holds neither {' nor '.join(WEIGHTS)}", where=folder, mend="name a model's folder")


def _read(path: Path) -> dict[str, Tensor]:
    return read_pickle(path).tensors if path.suffix == ".bin" else read_tensors(path)[0]


def _has_masks(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """As the configuration declares; one that declares nothing is taken by what the weights are for."""
    architectures = values.get("architectures")
    return SEGMENTATION in architectures if architectures else any(key.startswith("mask_head.") for key in tensors)


def _names(values: Mapping[str, Any], num_classes: int, where: Path) -> tuple[str, ...]:
    fields = Fields(values, where)
    if "id2label" not in fields:
        count = fields.whole("num_labels", num_classes)
        if count != num_classes:
            raise fields.fault("num_labels", f"the weights have {num_classes} classes")
        return tuple(f"LABEL_{label}" for label in range(num_classes))
    table = fields.table("id2label").values
    if sorted(table) != sorted(str(label) for label in range(num_classes)):
        what = f"id2label names {len(table)} classes, but the weights have {num_classes}, numbered from 0"
        raise UserError(what, where=where, mend="name every class once")
    return tuple(str(table[str(label)]) for label in range(num_classes))


def _category_ids(extra: Fields, num_classes: int) -> tuple[int, ...]:
    ids = extra.wholes("category_ids", list(range(num_classes)))
    if len(ids) != num_classes:
        raise extra.fault("category_ids", f"the weights have {num_classes} classes")
    return tuple(ids)


def _is_thing(extra: Fields, names: tuple[str, ...]) -> tuple[bool, ...]:
    said = extra.any("is_thing")
    if said is None:
        return coco_is_thing(names) or ()
    if not isinstance(said, list) or len(said) != len(names) or not all(isinstance(each, bool) for each in said):
        raise extra.fault("is_thing", "true or false for each class is wanted")
    return tuple(said)
