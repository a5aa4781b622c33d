"""LoRA through peft: small matrices are trained beside the large ones of a model, which stay as they are."""

import copy
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.training.parts import part_names
from sleuth.training.sections import check_keys

ANSWERING = ("queries", "class_head", "box_head", "mask_head")
"""The parts that ask and answer; some may be fresh. They are saved with the adapters, whether trained or not.

Where a model has one of them for each layer, as ``class_heads``, all of those are meant.
"""

_NAME = "default"


@dataclass(frozen=True)
class LoraSettings:
    """The ``[lora]`` of a recipe.

    Args:
        rank: of the matrices; what is learned of a layer is of this rank.
        alpha: their product counts ``alpha / rank``; 0 stands for twice the rank.
        dropout: share of an adapter's input that is dropped while training.
        targets: linear layers that get an adapter, by the last part of their name.
        full: parts that are trained as a whole, without adapters; all others are frozen.

    Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
    """

    rank: int = 8
    alpha: float = 0.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    full: tuple[str, ...] = ANSWERING

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank} is less than 1")
        if self.alpha < 0:
            raise ValueError(f"alpha = {self.alpha} is negative")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not at least 0 and below 1")
        if not self.targets:
            raise ValueError("targets names no layer")

    @property
    def scale(self) -> float:
        """What the product of the matrices is multiplied by."""
        return (self.alpha or 2 * self.rank) / self.rank


def check_start(lora: LoraSettings | None, weights: str, where: object) -> None:
    """Refuse adapters beside weights that are fresh.

    Raises:
        UserError: there are adapters, and no model to start from.
    """
    if lora is not None and not weights:
        raise UserError("[lora] adapts a model, and none is named", where=where, mend="name one with model.weights")


def add_adapters(model: nn.Module, settings: LoraSettings, *, also: Collection[str] = ()) -> list[str]:
    """Put adapters beside linear layers, and freeze all that is neither an adapter nor in a part trained in full.

    Parts that are frozen already stay so, and get no adapters.

    Args:
        model: to be changed.
        settings: which layers get adapters, and which parts are trained in full.
        also: modules of which rows may be fresh, by their qualified names: trained in full as well, unless the settings
            name other parts than usual.

    Returns:
        Names of the layers that have an adapter.

    Raises:
        UserError: there is no such layer or part, or all such layers are frozen.
    """
    check_keys(settings.full, {*part_names(model), *ANSWERING}, what="part", where="lora.full")
    full = find_parts(model, settings.full, also if settings.full == ANSWERING else ())
    outside = {name: layer for name, layer in _linear_layers(model).items() if not is_within(name, full)}
    check_keys(settings.targets, {_last(name) for name in outside}, what="layer", where="lora.targets")
    names = [name for name, layer in outside.items() if _last(name) in settings.targets and layer.weight.requires_grad]
    if not names:
        raise UserError(
            f"every {' and '.join(settings.targets)} is in a frozen part",
            where="lora.targets",
            mend="freeze fewer parts: LoRA leaves the weights themselves as they are",
        )
    whole = [
        parameter for part in full for parameter in model.get_submodule(part).parameters() if parameter.requires_grad
    ]
    _inject(model, settings, names)
    for parameter in whole:
        parameter.requires_grad_(True)
    return names


def find_parts(model: nn.Module, names: Iterable[str], also: Collection[str] = ()) -> list[str]:
    """Qualified names of the modules that are called so, wherever they are in the model, and of others.

    Args:
        model: where to look.
        names: last parts of the names; with an s for lists of such modules.
        also: further modules, by their qualified names.
    """
    called = {*names, *(f"{name}s" for name in names)}
    found: list[str] = []
    for name, _ in model.named_modules():
        if (_last(name) in called or name in also) and name and not is_within(name, found):
            found.append(name)
    return found


def is_within(name: str, parts: Iterable[str]) -> bool:
    """Whether a module is one of these parts or in one of them."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def merged(model: nn.Module) -> nn.Module:
    """The model with its adapters added into its layers: an ordinary model with the same answers.

    A model without adapters is returned as it is, one with adapters is copied.
    """
    if not adapter_layers(model):
        return model
    model = copy.deepcopy(model)
    for name, (down, up, scale) in adapter_layers(model).items():
        layer = model.get_submodule(name).get_submodule("base_layer")
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.copy_(added(layer.weight, down, up, scale))
        model.set_submodule(name, layer)
    return model


def added(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """A layer's weight with its adapter's product added."""
    return (weight + scale * (up.float() @ down.float())).to(weight.dtype)


def adapter_layers(model: nn.Module) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Each adapter by the name of its layer: the matrix down, the matrix up, and the scale of their product."""
    return {
        name: (layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight, layer.scaling[_NAME])
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A") and hasattr(layer, "base_layer")
    }


def _inject(model: nn.Module, settings: LoraSettings, names: list[str]) -> None:
    # peft takes seconds to import, and only a training with adapters needs it.
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.scale * settings.rank,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=names,
    )
    inject_adapter_in_model(config, model, adapter_name=_NAME)


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}


def _last(name: str) -> str:
    return name.rpartition(".")[2]
