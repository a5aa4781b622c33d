"""The flow of tensors through a model: every step, with shape, parameters and FLOPs, measured while it runs."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sleuth.models.detr import Detr
from sleuth.nn.attention import MultiHeadAttention, explicit_attention
from sleuth.types import ImageBatch, Queries


@dataclass(frozen=True)
class Step:
    """One tensor on its way.

    Args:
        name: what it is.
        part: the module that made it, by its qualified name; empty for the input.
        shape: as it was when the model ran.
        parameters: of the part, each counted where the part first appears.
        flops: floating-point operations of the part; a multiplication and an addition are two.
    """

    name: str
    part: str
    shape: tuple[int, ...]
    parameters: int = 0
    flops: int = 0


@dataclass(frozen=True)
class Trace:
    """All steps of one run, in order.

    Args:
        steps: first to last.
        parameters: of the whole model.
        flops: of the whole run.
    """

    steps: tuple[Step, ...]
    parameters: int
    flops: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        steps = [asdict(step) | {"shape": list(step.shape)} for step in self.steps]
        return {"steps": steps, "parameters": self.parameters, "flops": self.flops}


def _main(output: Any) -> Tensor:
    """The tensor that a part is there to make."""
    return output.content if isinstance(output, Queries) else output


def _parts(model: Detr, *, layers: bool) -> Iterator[tuple[str, str, nn.Module]]:
    """Name, qualified name and module of each part whose output is a step of its own."""
    yield "feature map", "backbone", model.backbone
    yield "projection", "input_proj", model.input_proj
    if layers:
        for number, layer in enumerate(model.encoder.layers):
            yield f"encoder layer {number}", f"encoder.layers.{number}", layer
    yield "memory", "encoder", model.encoder
    yield "queries", "queries", model.queries
    if layers:
        for number, layer in enumerate(model.decoder.layers):
            yield f"decoder layer {number}", f"decoder.layers.{number}", layer
    yield "decoder states", "decoder", model.decoder
    yield "class logits", "class_head", model.class_head
    yield "boxes", "box_head", model.box_head


@torch.no_grad()
def trace_model(model: Detr, images: ImageBatch, *, layers: bool = False) -> Trace:
    """Run the model once and record what flows.

    Args:
        model: in evaluation mode while it is traced; put back afterwards.
        images: what it looks at.
        layers: a step for each encoder and decoder layer as well.
    """
    seen: list[tuple[str, str, tuple[int, ...]]] = [("image", "", tuple(images.pixels.shape))]

    def after(name: str, part: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            shape = tuple(_main(output).shape)
            # Heads and states carry all decoder layers at once: the last one is the answer.
            stacked = part in {"decoder", "class_head", "box_head"}
            seen.append((name, part, shape if not stacked else shape[1:]))

        return hook

    def before_encoder(module: nn.Module, args: Any) -> None:
        tokens, pos = args[0], args[1]
        seen.append(("sequence", "", tuple(tokens.shape)))
        seen.append(("positions", "positions", tuple(pos.shape)))

    hooks = [module.register_forward_hook(after(name, part)) for name, part, module in _parts(model, layers=layers)]
    hooks.append(model.encoder.register_forward_pre_hook(before_encoder))
    was_training = model.training
    counter = FlopCounterMode(display=False)
    try:
        model.eval()
        with _explicit_cores(model), counter, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(images)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    flops = counter.get_flop_counts()
    modules = dict(model.named_modules())
    steps = tuple(
        Step(name, part, shape, _parameters(modules, part), _flops(flops, part, model)) for name, part, shape in seen
    )
    return Trace(steps, sum(p.numel() for p in model.parameters()), sum(flops.get("Global", {}).values()))


def _parameters(modules: dict[str, nn.Module], part: str) -> int:
    return sum(p.numel() for p in modules[part].parameters()) if part else 0


def _flops(counts: dict[str, dict[Any, int]], part: str, model: nn.Module) -> int:
    return sum(counts.get(f"{type(model).__name__}.{part}", {}).values()) if part else 0


@contextmanager
def _explicit_cores(model: nn.Module) -> Iterator[None]:
    """Attention written out, so that its products are counted on every device."""
    attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    cores = [attention.core for attention in attentions]
    try:
        for attention in attentions:
            attention.core = explicit_attention
        yield
    finally:
        for attention, core in zip(attentions, cores, strict=True):
            attention.core = core
