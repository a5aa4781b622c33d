"""The whole state of a training in one file, written atomically, so that a killed run continues bit for bit."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.training.ema import WeightAverage
from sleuth.weights.checkpoint import read_tensors, save_tensors

_KEY = "sleuth-training"
_FORMAT = 1


@dataclass(frozen=True)
class Counters:
    """Where a training stands; the place in the data follows from the step.

    Args:
        step: optimiser steps taken or skipped.
        skipped: steps skipped so far for a non-finite loss.
        skipped_in_a_row: how many of them were the latest ones.
        best_score: the best score of an evaluation so far, or None.
        best_step: the step of that score.
        seconds: time spent in training, over all starts.
        stale: evaluations since the best one.
        total_steps: steps of a run whose length is in minutes, once its speed was measured; else 0.
    """

    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best_score: float | None = None
    best_step: int = 0
    seconds: float = 0.0
    stale: int = 0
    total_steps: int = 0


@dataclass(frozen=True)
class SavedState:
    """A training state read back from its file.

    Args:
        counters: where the training stood.
        tensors: weights, averages, optimiser moments and generator states by name.
        recipe: the resolved recipe as tables.
        averages: how often the running average was updated.
        scaler: state of the gradient scaler; empty without float16.
        processes: how many processes trained together.
    """

    counters: Counters
    tensors: dict[str, Tensor]
    recipe: dict[str, Any]
    averages: int
    scaler: dict[str, Any]
    processes: int


def save_state(
    path: Path,
    *,
    counters: Counters,
    recipe: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
    generators: Mapping[str, Tensor],
    scaler: Mapping[str, Any],
    processes: int = 1,
) -> None:
    """Write everything that the next step depends on, with exact dtypes; a former file stays until this one is whole.

    Args:
        path: the file to write.
        counters: where the training stands.
        recipe: the resolved recipe, to refuse another one on resuming.
        model: the bare model, not its distributed wrapper.
        optimizer: its moments are stored by parameter name.
        average: the running average of the weights, if there is one.
        generators: states of the random number generators of all processes.
        scaler: state of the gradient scaler; empty without float16.
        processes: how many processes train together.
    """
    tensors = {f"weights/{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.tensors.items()}
    for name, moments in _moments(model, optimizer).items():
        tensors |= {f"optimizer/{key}/{name}": tensor for key, tensor in moments.items()}
    tensors |= {f"generator/{name}": state for name, state in generators.items()}
    content = {
        "format": _FORMAT,
        "counters": asdict(counters),
        "recipe": recipe,
        "averages": 0 if average is None else average.updates,
        "scaler": dict(scaler),
        "processes": processes,
    }
    save_tensors(path, {name: _plain(tensor) for name, tensor in tensors.items()}, {_KEY: json.dumps(content)})


def load_state(path: Path) -> SavedState:
    """Read a training state.

    Raises:
        UserError: there is none, it is damaged, or it is some other file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("there is no training state to resume", where=path, mend="start it without --resume")
    tensors, metadata = read_tensors(path)
    if _KEY not in metadata:
        raise UserError("not a training state", where=path, mend="name a run folder of `sleuth train`")
    try:
        content = json.loads(metadata[_KEY])
        if content.pop("format") != _FORMAT:
            raise UserError("written by another version of Sleuth", where=path, mend="resume it with that version")
        return SavedState(tensors=tensors, **content | {"counters": Counters(**content["counters"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the training state cannot be read: {error}", where=path, mend="start again in another folder"
        ) from None


def restore_state(
    saved: SavedState,
    *,
    where: object,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
) -> None:
    """Put weights, average and optimiser moments back, to the bit.

    Raises:
        UserError: the state belongs to a model of another shape.
    """
    weights = _part(saved.tensors, "weights")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        name = next(name for name in (*expected, *found) if expected.get(name) != found.get(name))
        raise UserError(
            f"the training state is of another model: {name} is {_shape(found.get(name))} in the file, "
            f"{_shape(expected.get(name))} in the recipe",
            where=where,
            mend="resume with the recipe in that run folder",
        )
    model.load_state_dict(weights)
    if average is not None:
        average.load(_part(saved.tensors, "average"), saved.averages)
    _load_moments(saved.tensors, model, optimizer)


def generator_states(rank: int, device: torch.device) -> dict[str, Tensor]:
    """States of this process's random number generators, which dropout draws from."""
    states = {f"cpu/{rank}": torch.get_rng_state()}
    if device.type == "cuda":
        states[f"cuda/{rank}"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(saved: SavedState, rank: int, device: torch.device) -> None:
    """Set this process's random number generators to their saved states, as far as the devices are the same."""
    states = _part(saved.tensors, "generator")
    if f"cpu/{rank}" in states:
        torch.set_rng_state(states[f"cpu/{rank}"])
    if device.type == "cuda" and f"cuda/{rank}" in states:
        torch.cuda.set_rng_state(states[f"cuda/{rank}"], device)


def advance(counters: Counters, *, skipped: bool) -> Counters:
    """The counters after one more step."""
    return replace(
        counters,
        step=counters.step + 1,
        skipped=counters.skipped + skipped,
        skipped_in_a_row=counters.skipped_in_a_row + 1 if skipped else 0,
    )


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moments = {}
    for parameter, state in optimizer.state.items():
        moments[names[id(parameter)]] = {key: torch.as_tensor(value) for key, value in state.items()}
    return moments


def _load_moments(tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    parameters = dict(model.named_parameters())
    for key, moments in _nested(_part(tensors, "optimizer")).items():
        for name, value in moments.items():
            parameter = parameters[name]
            # A moment has its parameter's memory layout, which the fused kernel relies on; a step count is a scalar.
            place = torch.empty_like(parameter, dtype=value.dtype) if value.shape == parameter.shape else value.clone()
            optimizer.state[parameter][key] = place.copy_(value)
    if optimizer.state:
        # Lets the optimiser move the step counts to the device that its kernel wants them on.
        optimizer.load_state_dict(optimizer.state_dict())


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    nested: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        key, _, name = path.partition("/")
        nested.setdefault(key, {})[name] = tensor
    return nested


def _plain(tensor: Tensor) -> Tensor:
    # A copy of its own: safetensors refuses tensors that share memory.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))
