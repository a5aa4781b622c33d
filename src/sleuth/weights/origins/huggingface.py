"""Models in Hugging Face's form: a folder with config.json, preprocessor_config.json and weights."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from sleuth.errors import UserError
from sleuth.models.families import build_detector, has_masks
from sleuth.weights.checkpoint import LoadedModel, detector_card, fill
from sleuth.weights.hub import CONFIG
from sleuth.weights.origins.coco_names import coco_is_thing, named_as_coco_panoptic, named_as_coco_things
from sleuth.weights.origins.deformable_detr_huggingface import DEFORMABLE_DETR
from sleuth.weights.origins.detr_huggingface import DETR
from sleuth.weights.origins.dfine_huggingface import DFINE
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.folder_files import class_names, read_object, read_weights
from sleuth.weights.origins.reading import Reader
from sleuth.weights.origins.rtdetr_huggingface import RT_DETR, RT_DETR_V2
from sleuth.weights.processors import CONFIG_NAME as PROCESSOR
from sleuth.weights.processors import read_processor

READERS: Mapping[str, Reader] = {
    "detr": DETR,
    "deformable_detr": DEFORMABLE_DETR,
    "d_fine": DFINE,
    "rt_detr": RT_DETR,
    "rt_detr_v2": RT_DETR_V2,
}
"""What reads a folder, by the ``model_type`` of its config.json."""


def open_folder(folder: Path) -> LoadedModel:
    """A model in Hugging Face's form, from a folder of this machine, ready to answer.

    Class names come from ``id2label``; without it they are LABEL_0, LABEL_1, ... as there, and those that the published
    panoptic models leave unnamed in this way get COCO's names. COCO's 80 classes in order get its names and ids.
    Other category ids are the labels themselves, unless `sleuth convert` wrote the folder, which keeps the model's own.

    Args:
        folder: with config.json, with model.safetensors or pytorch_model.bin, whole or in shards, and perhaps with
            preprocessor_config.json; without that, Hugging Face's own preprocessing for such a model holds.

    Raises:
        UserError: a file is missing or broken, another architecture, a field that cannot be honoured, or weights that
            do not fit the configuration.
    """
    folder = Path(folder)
    where = folder / CONFIG
    values = read_object(where)
    reader = _reader_of(values, where)
    processor = folder / PROCESSOR
    said = read_object(processor) if processor.is_file() else {}
    preprocess = read_processor(said, processor, usual=reader.processor)
    weights = read_weights(folder)
    reading = reader.read(values, where, weights)
    config = reading.config
    names = class_names(values, config.num_classes, where)
    if has_masks(config):
        names = named_as_coco_panoptic(names) or names
    things = named_as_coco_things(names)
    names = names if things is None else tuple(things.values())
    extra = Fields(values, where).table("sleuth")
    card = detector_card(
        config,
        names=names,
        category_ids=_category_ids(extra, things or range(config.num_classes)),
        preprocess=preprocess,
        notes={"origin": "huggingface", "loss": dict(reading.loss)},
        is_thing=_is_thing(extra, names),
    )
    with torch.device("meta"):
        # Shapes are compared before room is made for a model that a broken configuration describes.
        shapes = {key: tensor.shape for key, tensor in build_detector(config).state_dict().items()}
    try:
        ours = reading.keys.load(weights.tensors, shapes)
    except UserError as error:
        raise UserError(
            error.what, where=weights.file, mend=f"check whether {CONFIG} belongs to these weights"
        ) from error
    model = build_detector(config)
    fill(model, ours, weights.file)
    return LoadedModel(model.eval(), card)


def check_config(folder: Path) -> None:
    """Look at a folder's config.json alone, before its weights are there.

    Raises:
        UserError: it is missing or broken, another architecture, or a field that cannot be honoured.
    """
    where = Path(folder) / CONFIG
    values = read_object(where)
    _reader_of(values, where).read(values, where, None)


def _reader_of(values: Mapping[str, Any], where: Path) -> Reader:
    """What reads such a configuration.

    Raises:
        UserError: it is of no kind that is known, or without heads.
    """
    found = values.get("model_type")
    supported = "; ".join(f"{kind} ({', '.join(reader.architectures)})" for kind, reader in READERS.items())
    if not isinstance(found, str) or found not in READERS:
        said = "no model_type" if found is None else f"the model_type {found!r}"
        raise UserError(f"a model with {said} cannot be loaded", where=where, mend=f"supported: {supported}")
    reader = READERS[found]
    for name in values.get("architectures") or ():
        if name not in reader.architectures:
            what = f"the architecture {name!r} cannot be loaded"
            raise UserError(what, where=where, mend=f"supported: {found} ({', '.join(reader.architectures)})")
    return reader


def _category_ids(extra: Fields, usual: Collection[int]) -> tuple[int, ...]:
    ids = extra.wholes("category_ids", list(usual))
    if len(ids) != len(usual):
        raise extra.fault("category_ids", f"the weights have {len(usual)} classes")
    return tuple(ids)


def _is_thing(extra: Fields, names: tuple[str, ...]) -> tuple[bool, ...]:
    said = extra.any("is_thing")
    if said is None:
        return coco_is_thing(names) or ()
    if not isinstance(said, list) or len(said) != len(names) or not all(isinstance(each, bool) for each in said):
        raise extra.fault("is_thing", "true or false for each class is wanted")
    return tuple(said)
