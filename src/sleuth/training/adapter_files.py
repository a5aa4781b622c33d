"""Adapters in a folder of their own, as peft writes them, with the card of the model that they belong to."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.files import atomic_write, make_folder
from sleuth.models.families import build_detector, config_from
from sleuth.training.adapters import ANSWERING, LoraSettings, adapter_layers, added, find_parts
from sleuth.training.rows import rows_of
from sleuth.training.start import take_weights
from sleuth.weights.checkpoint import LoadedModel, ModelCard, read_card, read_tensors, save_tensors
from sleuth.weights.resolve import open_model

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def save_adapters(folder: Path, model: nn.Module, settings: LoraSettings, card: ModelCard, *, base: str) -> None:
    """Write what was trained, so that peft reads it too, and :func:`merge_adapters` with the model of the base alone.

    Args:
        folder: to write to; what is in it is replaced.
        model: with adapters.
        settings: how they were made.
        card: of the whole model.
        base: the model that was started from, by the name that was given.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    layers = adapter_layers(model)
    for name, (down, up, _) in layers.items():
        tensors |= {f"{_PREFIX}{name}{_DOWN}": down, f"{_PREFIX}{name}{_UP}": up}
    also = rows_of(config_from(card.architecture, card.config)).modules
    saved = find_parts(model, dict.fromkeys((*ANSWERING, *settings.full)), also)
    for part in saved:
        state = model.get_submodule(part).state_dict(prefix=f"{_PREFIX}{part}.")
        tensors |= state
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.scale * settings.rank,
        "lora_dropout": settings.dropout,
        "target_modules": list(layers),
        "modules_to_save": saved,
        "bias": "none",
        "inference_mode": True,
    }
    make_folder(folder)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_tensors(folder / WEIGHTS, plain, {"format": "pt", "sleuth": json.dumps(asdict(card))})
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def merge_adapters(folder: Path, base: str | None = None) -> LoadedModel:
    """The model that was trained, from its adapters and the model that they were trained beside.

    Args:
        folder: as :func:`save_adapters` wrote it.
        base: the model that was started from; by default the one that the folder names.

    Raises:
        UserError: no such folder or model, or one does not belong to the other.
    """
    folder = Path(folder)
    scale, named = _read_config(folder / CONFIG)
    base = base or named
    tensors, metadata = read_tensors(folder / WEIGHTS)
    card = read_card(folder / WEIGHTS, metadata)
    config = config_from(card.architecture, card.config)
    model = build_detector(config)
    take_weights(model, config, open_model(base), card.names, keep_classes=False, where=base)
    state = model.state_dict()
    given = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    try:
        for name, tensor in given.items():
            if name.endswith(_DOWN):
                weight = f"{name.removesuffix(_DOWN)}.weight"
                state[weight] = added(state[weight], tensor, given[f"{name.removesuffix(_DOWN)}{_UP}"], scale)
            elif not name.endswith(_UP):
                if state[name].shape != tensor.shape:
                    raise KeyError(name)
                state[name] = tensor
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"the adapters do not fit the model {base}: {error}", where=folder, mend="name the model they belong to"
        ) from None
    with torch.no_grad():
        model.load_state_dict(state)
    return LoadedModel(model.eval(), card)


def _read_config(path: Path) -> tuple[float, str]:
    """The scale of the adapters, and the model that they belong to."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values["lora_alpha"] / values["r"], str(values["base_model_name_or_path"])
    except FileNotFoundError:
        raise UserError(
            "there are no adapters", where=path.parent, mend="name a folder such as RUN/best-adapter"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"the adapters cannot be read: {error}", where=path, mend="train them again") from None
