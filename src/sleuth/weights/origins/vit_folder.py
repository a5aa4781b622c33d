"""Vision Transformers in folders of timm and of Hugging Face's library: opened, and written back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.vit import VisionTransformer, VitConfig, build_vit
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import fill, save_tensors
from sleuth.weights.classifier_processors import (
    read_classifier_processor,
    read_timm_preprocess,
    write_classifier_processor,
    write_timm_preprocess,
)
from sleuth.weights.hub import CONFIG, PROCESSOR, WEIGHTS
from sleuth.weights.keymap import KeyMap
from sleuth.weights.maps.vit_timm import VIT_TIMM
from sleuth.weights.origins.folder_files import class_names, read_object, read_weights
from sleuth.weights.origins.reading import FolderWeights
from sleuth.weights.origins.vit_huggingface import is_vit, read_vit_huggingface
from sleuth.weights.origins.vit_huggingface_export import huggingface_state, huggingface_values
from sleuth.weights.origins.vit_timm import pretrained_fields, read_vit_timm, timm_names, timm_state, timm_values


@dataclass(frozen=True)
class LoadedVit:
    """A vision Transformer with its weights, in evaluation mode, and what belongs to them.

    Args:
        model: ready to answer.
        config: its numbers.
        names: of its classes; empty where it has none.
        preprocess: how pictures become its input.
    """

    model: VisionTransformer
    config: VitConfig
    names: tuple[str, ...]
    preprocess: Preprocess


def is_vit_folder(values: Mapping[str, Any]) -> bool:
    """Whether the config.json of a folder is one that `open_vit_folder` is for.

    Args:
        values: the JSON; timm's has an ``architecture``, Hugging Face's a ``model_type``.
    """
    return is_vit(values) or ("model_type" not in values and isinstance(values.get("architecture"), str))


def open_vit_folder(folder: Path) -> LoadedVit:
    """A vision Transformer of timm or of Hugging Face's library, from a folder of this machine.

    Args:
        folder: with config.json, and with model.safetensors or pytorch_model.bin, whole or in shards; of Hugging Face's
            perhaps with preprocessor_config.json, without which its own preprocessing for such a model holds.

    Raises:
        UserError: a file is missing or broken, another architecture, a field that cannot be honoured, or weights that
            do not fit the configuration.
    """
    folder = Path(folder)
    where = folder / CONFIG
    values = read_object(where)
    if not is_vit_folder(values):
        said = values.get("model_type", values.get("architecture"))
        raise UserError(
            f"{said!r} is no vision Transformer that can be loaded", where=where, mend="name another folder"
        )
    weights = read_weights(folder)
    if is_vit(values):
        reading = read_vit_huggingface(values, where, weights)
        processor = folder / PROCESSOR
        said = read_object(processor) if processor.is_file() else {}
        preprocess = read_classifier_processor(said, processor, usual=reading.processor)
        config, keys = reading.config, reading.keys
        names = class_names(values, config.num_classes, where) if config.num_classes else ()
    else:
        config, keys = read_vit_timm(values, where), VIT_TIMM
        preprocess = read_timm_preprocess(pretrained_fields(values), where, image_hw=config.image_hw)
        names = timm_names(values, config.num_classes, where)
    return LoadedVit(_filled(config, keys, weights), config, names, preprocess)


def check_vit_config(folder: Path) -> None:
    """Look at a folder's config.json alone, before its weights are there.

    Raises:
        UserError: it is missing or broken, another architecture, or a field that cannot be honoured.
    """
    where = Path(folder) / CONFIG
    values = read_object(where)
    if is_vit(values):
        read_vit_huggingface(values, where, None)
    else:
        read_vit_timm(values, where)


def write_vit_huggingface(folder: Path, loaded: LoadedVit) -> None:
    """Write a model as Hugging Face's library loads it: config.json, preprocessor_config.json, model.safetensors.

    Pictures of the size that positions were learned for get the same answers there; for other sizes that library
    resizes positions in its own way, whatever the model was trained with. Read by Sleuth, it answers as before.

    Raises:
        UserError: that library cannot express the model, or the folder cannot be written to.
    """
    folder = Path(folder)
    values = huggingface_values(loaded.config, loaded.names)
    processor = write_classifier_processor(loaded.preprocess)
    save_tensors(folder / WEIGHTS[0], huggingface_state(loaded.config, _state(loaded)), {"format": "pt"})
    _write_json(folder / PROCESSOR, processor)
    _write_json(folder / CONFIG, values)


def write_vit_timm(folder: Path, loaded: LoadedVit) -> None:
    """Write a model as timm loads it by ``local-dir:`` or from the hub: config.json and model.safetensors.

    Raises:
        UserError: timm cannot express the model, or the folder cannot be written to.
    """
    folder = Path(folder)
    prepared = write_timm_preprocess(loaded.preprocess, image_hw=loaded.config.image_hw)
    values = timm_values(loaded.config, loaded.names, prepared)
    tensors = VIT_TIMM.export(timm_state(loaded.config, _state(loaded)))
    save_tensors(folder / WEIGHTS[0], tensors, {"format": "pt"})
    _write_json(folder / CONFIG, values)


def _filled(config: VitConfig, keys: KeyMap, weights: FolderWeights) -> VisionTransformer:
    with torch.device("meta"):
        # Shapes are compared before room is made for a model that a broken configuration describes.
        shapes = {key: tensor.shape for key, tensor in build_vit(config).state_dict().items()}
    try:
        ours = keys.load(weights.tensors, shapes)
    except UserError as error:
        raise UserError(
            error.what, where=weights.file, mend=f"check whether {CONFIG} belongs to these weights"
        ) from error
    model = build_vit(config)
    fill(model, ours, weights.file)
    return model.eval()


def _state(loaded: LoadedVit) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in loaded.model.state_dict().items()}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
