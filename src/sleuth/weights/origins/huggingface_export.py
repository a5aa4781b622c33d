"""Models written in Hugging Face's form, for its `from_pretrained`; what its models cannot express is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.weights.checkpoint import LoadedModel, save_tensors
from sleuth.weights.hub import CONFIG, WEIGHTS
from sleuth.weights.origins.deformable_detr_huggingface_export import express_deformable_detr
from sleuth.weights.origins.detr_huggingface_export import express_detr
from sleuth.weights.origins.dfine_huggingface_export import express_dfine
from sleuth.weights.origins.rtdetr_huggingface_export import express_rtdetr
from sleuth.weights.origins.writing import Writer
from sleuth.weights.processors import CONFIG_NAME as PROCESSOR
from sleuth.weights.processors import write_processor

WRITERS: Mapping[str, Writer] = {
    "detr": express_detr,
    "deformable-detr": express_deformable_detr,
    "dfine": express_dfine,
    "rtdetr": express_rtdetr,
}
"""What expresses a model in that library's terms, by its family."""


def write_folder(folder: Path, loaded: LoadedModel) -> None:
    """Write a model as Hugging Face's library loads it: config.json, preprocessor_config.json, model.safetensors.

    Args:
        folder: where the three files go.
        loaded: the model.

    Raises:
        UserError: Hugging Face's library cannot express the model, or the folder cannot be written to.
    """
    folder, family = Path(folder), loaded.card.architecture
    if family not in WRITERS:
        what = f"a {family} cannot be written in Hugging Face's form"
        raise UserError(what, mend=f"use it with Sleuth; what can be: {', '.join(WRITERS)}")
    written = WRITERS[family](loaded)
    processor = write_processor(loaded.preprocess, kind=written.processor) | {"format": written.processor_format}
    save_tensors(folder / WEIGHTS[0], written.tensors, {"format": "pt"})
    _write_json(folder / PROCESSOR, processor)
    _write_json(folder / CONFIG, written.values)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
