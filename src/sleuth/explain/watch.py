"""One run of a model under watch: hooks see the tensors pass, and PyTorch's counter sees the operations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from sleuth.models.detector import Detector
from sleuth.nn.attention import Attention, explicit_attention, fused_attention
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction


@dataclass
class Seen:
    """What the hooks saw of one module.

    Args:
        inputs: of its last call.
        output: of its last call.
        flops: of all calls, with those of the modules within.
        started_at: FLOPs counted before its last call.
    """

    inputs: tuple[Any, ...] = ()
    output: Any = None
    flops: int = 0
    started_at: int = 0


@dataclass
class Part:
    """What one of a model's parts, its own children, did.

    Args:
        flops: counted while one of its modules was the innermost of those that are known by the part's name.
        entered: what went into it, call after call, from outside.
        left: what came out of it, call after call.
    """

    flops: int = 0
    entered: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)


@dataclass
class Watch:
    """All modules under watch, by qualified name, and the parts that they belong to, in the order in which they ran."""

    flops_so_far: Callable[[], int]
    seen: dict[str, Seen] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    prediction: SetPrediction | None = None
    masks: Tensor | None = None
    mask_flops: int = 0
    total_flops: int = 0


@contextmanager
def watched(model: nn.Module) -> Iterator[Watch]:
    """Everything that a model does within the block, in evaluation mode and without gradients.

    `Watch.flops_so_far` tells in between; the total is there at the end.
    """
    modes = {part: part.training for part in model.modules()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in trained:
        parameter.requires_grad_(False)  # the counter asks for the gradient of any that is handed to a module
    try:
        counter = FlopCounterMode(display=False)
        watch = Watch(flops_so_far=counter.get_total_flops)
        with torch.no_grad(), _explicit_cores(model), counter, _watching(model, watch, counter.get_total_flops):
            yield watch
        watch.total_flops = counter.get_total_flops()
    finally:
        for part, training in modes.items():
            part.training = training
        for parameter in trained:
            parameter.requires_grad_(True)


def watch_run(model: Detector, images: ImageBatch) -> Watch:
    """One run of a detector under watch."""
    with watched(model) as watch:
        watch.prediction = model(images)
        before = watch.flops_so_far()
        watch.masks = _every_mask(watch.prediction)
        watch.mask_flops = watch.flops_so_far() - before
    return watch


def gradient_flops(model: nn.Module, loss_of: Callable[[], Tensor]) -> int:
    """FLOPs of a loss and of its gradient by every parameter, in evaluation mode; no gradient is kept."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.enable_grad(), _explicit_cores(model), FlopCounterMode(display=False) as counter:
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
            torch.autograd.grad(loss_of(), trained, allow_unused=True)
        return counter.get_total_flops()
    finally:
        for part, training in modes.items():
            part.training = training


def _every_mask(prediction: SetPrediction) -> Tensor | None:
    """The masks of every query, [batch, queries, height, width], or None for a model without a mask head."""
    if prediction.masks is None:
        return None
    batch, queries = prediction.logits.shape[1:3]
    every = torch.arange(queries).repeat(batch), torch.arange(batch).repeat_interleave(queries)
    return prediction.masks(every[1], every[0]).unflatten(0, (batch, queries))


@contextmanager
def _watching(model: nn.Module, watch: Watch, flops: Callable[[], int]) -> Iterator[None]:
    """Note inputs, output and FLOPs of every module, and of the parts they belong to, while the block runs."""
    handles: list[RemovableHandle] = []
    running: list[str] = []  # parts of the modules that run now, the innermost last
    counted = 0

    def settle() -> None:
        """What was counted since the last call is the innermost part's, or nobody's."""
        nonlocal counted
        now = flops()
        watch.parts.setdefault(running[-1] if running else "", Part()).flops += now - counted
        counted = now

    def before(name: str, seen: Seen) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            settle()
            part = name.split(".")[0]
            seen.inputs, seen.started_at = args, flops()
            if part not in running:
                watch.parts.setdefault(part, Part()).entered.append((args, kwargs))
            running.append(part)

        return hook

    def after(name: str, seen: Seen) -> Callable[..., None]:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            settle()
            part = running.pop()
            seen.output = output
            seen.flops += flops() - seen.started_at
            if part not in running:
                watch.parts[part].left.append(output)

        return hook

    try:
        for name, module in model.named_modules():
            if name:
                seen = watch.seen.setdefault(name, Seen())
                handles.append(module.register_forward_pre_hook(before(name, seen), with_kwargs=True))
                handles.append(module.register_forward_hook(after(name, seen)))
        yield
        settle()
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _explicit_cores(model: nn.Module) -> Iterator[None]:
    """Attention written out while the block runs: not every fused kernel is counted, its two products are.

    Cores of other kinds stay: they would compute something else.
    """
    every = [module for module in model.modules() if isinstance(module, Attention)]
    attentions = [module for module in every if module.core is fused_attention]
    cores = [attention.core for attention in attentions]
    try:
        for attention in attentions:
            attention.core = explicit_attention
        yield
    finally:
        for attention, core in zip(attentions, cores, strict=True):
            attention.core = core


def parameters_of(part: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in part.parameters())


def parameters_of_parts(model: nn.Module) -> dict[str, int]:
    """Parameters of each part, a model's own child; what is shared counts with the first."""
    known: set[int] = set()
    found = {}
    for name, part in model.named_children():
        new = {id(parameter): parameter.numel() for parameter in part.parameters() if id(parameter) not in known}
        known |= new.keys()
        found[name] = sum(new.values())
    return found
