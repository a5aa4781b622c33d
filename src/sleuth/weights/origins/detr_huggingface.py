"""Hugging Face's DETR, for `open_folder`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.weights.maps.detr_huggingface import detr_huggingface
from sleuth.weights.origins.detr_huggingface_config import DETECTION, SEGMENTATION, read_config, read_loss
from sleuth.weights.origins.reading import FolderWeights, Reader, Reading

_HEAD = "class_labels_classifier.bias"


def _read(values: Mapping[str, Any], where: Path, weights: FolderWeights | None) -> Reading:
    masks = _has_masks(values, weights)
    rows = 2 if weights is None else weights.rows(f"detr.{_HEAD}" if masks else _HEAD)
    if weights is not None and rows < 2:
        raise UserError("the class head has no class but no-object", where=weights.file, mend="take another model")
    config, backbone = read_config(values, where, num_classes=rows - 1, masks=masks)
    keys = detr_huggingface(backbone=backbone.kind, masks=masks, stages=config.backbone_stages)
    return Reading(config, keys, read_loss(values, where))


def _has_masks(values: Mapping[str, Any], weights: FolderWeights | None) -> bool:
    """As the configuration declares; one that declares nothing is taken by what the weights are for."""
    architectures = values.get("architectures")
    if architectures or weights is None:
        return SEGMENTATION in (architectures or ())
    return any(key.startswith("mask_head.") for key in weights.tensors)


DETR = Reader((DETECTION, SEGMENTATION), "DetrImageProcessor", _read)
