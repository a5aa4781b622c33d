"""One file is one model: safetensors with a card that says what the weights belong to. Never pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.detector import Detector, DetectorConfig, field_names
from sleuth.models.families import FAMILIES, build_detector, config_from, family_of
from sleuth.tasks.detection import DetectionLossConfig, Preprocess
from sleuth.tasks.segmentation import PAPER_RULE, PanopticRule
from sleuth.weights.architectures import KEY, card_faults, card_for, settings_from


@dataclass(frozen=True)
class ModelCard:
    """What a model's weights belong to.

    Args:
        architecture: which family, as in `FAMILIES`.
        config: the numbers of the model, as in the family's config.
        names: class names, by contiguous label.
        category_ids: original category id of each label.
        preprocess: how pictures become input, as in `Preprocess`.
        notes: whatever is worth keeping: scores, licence, and as ``loss`` the losses that it was trained by.
        is_thing: for each label, whether it is a countable thing; stuff, such as sky, is one segment a picture.
        panoptic: how its answers part a picture, as in `PanopticRule`.
    """

    architecture: str
    config: dict[str, Any]
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    preprocess: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)
    is_thing: tuple[bool, ...] = ()
    panoptic: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.is_thing:  # files from before there was stuff
            object.__setattr__(self, "is_thing", (True,) * len(self.names))


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights and its card, in evaluation mode."""

    model: Detector
    card: ModelCard

    @property
    def config(self) -> DetectorConfig:
        """The numbers of the model."""
        return config_from(self.card.architecture, self.card.config)

    @property
    def preprocess(self) -> Preprocess:
        """How pictures become input."""
        return preprocess_from(self.card.preprocess)

    @property
    def panoptic_rule(self) -> PanopticRule:
        """How its answers part a picture into segments."""
        return PanopticRule(**self.card.panoptic)

    @property
    def loss(self) -> DetectionLossConfig:
        """The losses that it was trained by, as far as its card knows them; the others are DETR's own."""
        return loss_from(self.card.notes.get("loss"))


def preprocess_from(values: Mapping[str, Any]) -> Preprocess:
    """A `Preprocess` from plain JSON values."""
    return settings_from(Preprocess, values)


def loss_from(values: object) -> DetectionLossConfig:
    """Losses from a card's notes, which may hold anything: what is unknown there is left out."""
    known = field_names(DetectionLossConfig)
    given: dict[str, Any] = values if isinstance(values, dict) else {}
    return settings_from(DetectionLossConfig, {key: value for key, value in given.items() if key in known})


def detector_card(
    config: DetectorConfig,
    *,
    names: tuple[str, ...],
    category_ids: tuple[int, ...],
    preprocess: Preprocess,
    notes: dict[str, Any] | None = None,
    is_thing: tuple[bool, ...] = (),
    panoptic: PanopticRule = PAPER_RULE,
    loss: DetectionLossConfig | None = None,
) -> ModelCard:
    """The card of a model of any family.

    Args:
        config: its numbers.
        names: class names, by contiguous label.
        category_ids: original category id of each label.
        preprocess: how pictures become input.
        notes: whatever is worth keeping.
        is_thing: for each label, whether it is a countable thing; empty where all are.
        panoptic: how its answers part a picture.
        loss: the losses that it was trained by; fine-tuning takes them over.

    Raises:
        ValueError: the names do not fit the number of classes.
    """
    if len(names) != config.num_classes or len(category_ids) != config.num_classes:
        raise ValueError(f"{config.num_classes} classes, but {len(names)} names and {len(category_ids)} category ids")
    numbers, pixels, rule = asdict(config), asdict(preprocess), asdict(panoptic)
    kept = (notes or {}) | ({} if loss is None else {"loss": asdict(loss)})
    return ModelCard(family_of(config).name, numbers, names, category_ids, pixels, kept, is_thing, rule)


def save_model(path: Path, model: torch.nn.Module, card: ModelCard, *, dtype: torch.dtype | None = None) -> None:
    """Write a model atomically.

    Args:
        path: a ``.safetensors`` file.
        model: whose state dict to write.
        card: what it belongs to.
        dtype: store floating-point weights in this type (half halves the file); None keeps them.

    Raises:
        UserError: the file cannot be written; a former file of that name stays as it was.
    """
    save_tensors(path, stored(model.state_dict(), dtype), {KEY: json.dumps(asdict(card))})


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and metadata as safetensors, atomically."""
    path = Path(path)
    with atomic_write(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=metadata)
        except SafetensorError as error:
            # The library wraps the system's error in its own; the number in it tells what happened.
            code = _os_error_number(str(error))
            if code is None:
                raise
            raise OSError(code, str(error)) from error


def _os_error_number(message: str) -> int | None:
    marker = "os error "
    if marker not in message:
        return None
    digits = message.split(marker, 1)[1].split(")", 1)[0]
    return int(digits) if digits.isdigit() else None


def stored(state: Mapping[str, torch.Tensor], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Weights as a file has them: on the CPU, contiguous, floating-point ones in this type if one is given."""

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().cpu().contiguous()
        if dtype is None or not tensor.is_floating_point():
            return tensor
        narrow = tensor.to(dtype)
        # A value too large for half precision would come back as infinity: such a tensor stays as it is.
        return narrow if torch.equal(narrow.isfinite(), tensor.isfinite()) else tensor

    return {key: cast(tensor) for key, tensor in state.items()}


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file.

    Raises:
        UserError: the file is missing, unreadable, cut off or no safetensors file.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise UserError("no such file", where=path, mend="check the path, or see `sleuth models` for known names")
        if path.is_dir():
            raise UserError("this is a folder, not a .safetensors file", where=path, mend="name the file inside it")
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except PermissionError as error:
        raise UserError("no permission to read", where=path, mend="change its permissions") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"not a readable safetensors file ({error})", where=path, mend="copy it again, or train a new one"
        ) from error


def read_card(path: Path, metadata: Mapping[str, str]) -> ModelCard:
    """The card in a file's metadata.

    Raises:
        UserError: there is none, it is not one of ours, or it is that of a model for something else.
    """
    values = card_for("detection", path, metadata)
    with card_faults(path, "is not readable"):
        values |= {key: tuple(values[key]) for key in ("names", "category_ids")}
        values["is_thing"] = tuple(values.get("is_thing", ()))
        for key in ("config", "preprocess"):
            if not isinstance(values[key], dict):
                raise TypeError(f"{key} is no table")
        return ModelCard(**values)


def load_model(path: Path) -> LoadedModel:
    """Build the model that a file's card describes and fill it with the file's weights.

    Raises:
        UserError: missing or broken file, unknown architecture or option, weights of another model.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    card = read_card(path, metadata)
    known = field_names(FAMILIES[card.architecture].config)
    if unknown := sorted(card.config.keys() - set(known)):
        raise UserError(f"unknown option {unknown[0]!r} in the card", where=path, mend="update Sleuth")
    with card_faults(path):
        config = config_from(card.architecture, card.config)
        preprocess_from(card.preprocess)
        PanopticRule(**card.panoptic)
        loss_from(card.notes.get("loss"))
        model = build_detector(config)
    if not len(card.names) == len(card.category_ids) == config.num_classes:
        what = f"the card names {len(card.names)} classes, but the model has {config.num_classes}"
        raise UserError(what, where=path, mend="train or export it again")
    if len(card.is_thing) != config.num_classes:
        what = f"the card says of {len(card.is_thing)} classes whether they are things, but has {config.num_classes}"
        raise UserError(what, where=path, mend="train or export it again")
    fill(model, tensors, path)
    return LoadedModel(model.eval(), card)


def fill(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: Path) -> None:
    """Load a state dict of our own layout, completely or not at all.

    Raises:
        UserError: a tensor is missing, surplus, of another shape, or holds a value that is not finite.
    """
    wanted = model.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise UserError(f"weights of another model: {missing[0]!r} is missing", where=where, mend="name its own config")
    if surplus := sorted(tensors.keys() - wanted.keys()):
        raise UserError(f"weights of another model: {surplus[0]!r} is unknown", where=where, mend="name its own config")
    for key, tensor in wanted.items():
        found = tensors[key]
        if found.shape != tensor.shape:
            raise UserError(
                f"weights of another model: {key!r} has shape {list(found.shape)}, not {list(tensor.shape)}",
                where=where,
                mend="name its own config",
            )
        if found.is_floating_point() and not bool(found.isfinite().all()):
            raise UserError(f"{key!r} holds values that are not finite", where=where, mend="use an earlier checkpoint")
    model.load_state_dict({key: tensors[key].to(tensor.dtype) for key, tensor in wanted.items()})
