"""AdamW as DETR uses it: the backbone learns at its own, slower rate; or Muon, for short trainings from scratch."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from sleuth.training.muon import Muon

Kind = Literal["adamw", "muon"]

_LEAST_SIDE = 16
"""A matrix with fewer inputs or outputs is no hidden one: it reads coordinates, or answers with them."""

_ANSWERS = ("class_head", "class_heads", "head", "distill_head", "classes")
"""Layers that score classes or words: a row each, which sees no gradient where its class is not there."""


@dataclass(frozen=True)
class OptimizerSettings:
    """The ``[optimizer]`` of a recipe.

    Args:
        kind: ``adamw``; or ``muon``, which moves hidden matrices and kernels by orthogonal steps, the rest by AdamW.
        rate: full learning rate of everything but the backbone.
        backbone_rate: full learning rate of the backbone; a tenth of ``rate`` where left out.
        weight_decay: decoupled weight decay of all parameters.
        betas: decay of the running mean and of the running square of the gradient.
        eps: added to the root of the running square before it divides; 1e-9 for Transformers of text, as in the paper.
        clip: largest norm of the whole gradient; 0 does not clip.
        batch_size: pictures that one process takes in one pass; 0 chooses as many as memory allows, 2 to 32.
        accumulate: passes whose gradients are added before one optimiser step.
        decay_norms: False spares norms and biases the weight decay.
    """

    kind: Kind = "adamw"
    rate: float = 1e-4
    backbone_rate: float | None = None
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 0.1
    batch_size: int = 2
    accumulate: int = 1
    decay_norms: bool = True

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("rate must be above 0")
        if self.eps <= 0:
            raise ValueError("eps must be above 0")
        if self.accumulate < 1:
            raise ValueError("accumulate must be at least 1")
        for name in ("batch_size", "backbone_rate", "weight_decay", "clip"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be at least 0 and below 1")


def named_groups(model: nn.Module, settings: OptimizerSettings) -> list[dict[str, object]]:
    """Two parameter groups, ``rest`` and ``backbone``; frozen parameters belong to neither.

    A parameter is the backbone's if a part of its qualified name is ``backbone``. Without ``decay_norms`` each group
    has a second one without weight decay, for the parameters of at most one dimension: those of norms, and biases. For
    Muon each has one more, of the matrices that it moves.
    """
    backbone_rate = settings.rate / 10 if settings.backbone_rate is None else settings.backbone_rate
    matrices = hidden_matrices(model) if settings.kind == "muon" else set()
    groups: list[dict[str, object]] = []
    for group, rate in (("rest", settings.rate), ("backbone", backbone_rate)):
        own = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and ("backbone" in name.split(".")) == (group == "backbone")
        ]
        hidden = [parameter for parameter in own if id(parameter) in matrices]
        parameters = [parameter for parameter in own if id(parameter) not in matrices]
        spared = [] if settings.decay_norms else [parameter for parameter in parameters if parameter.ndim <= 1]
        ids = {id(parameter) for parameter in spared}
        decayed = [parameter for parameter in parameters if id(parameter) not in ids]
        groups.append({"name": group, "params": decayed, "lr": rate, "full_rate": rate})
        groups.append({"name": f"{group} matrices", "params": hidden, "lr": rate, "full_rate": rate, "muon": True})
        groups.append({"name": f"{group} norms", "params": spared, "lr": rate, "full_rate": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def hidden_matrices(model: nn.Module) -> set[int]:
    """Identities of the weights that Muon moves: of linear layers and convolutions between the input and the answers.

    Embeddings, queries, scores of classes, convolutions by groups of channels, and what has fewer than 16 inputs or
    outputs are none of them.
    """
    embedded = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    found = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not _answers(name):
            weight = module.weight
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                continue
            if id(weight) not in embedded and min(weight.shape[0], weight[0].numel()) >= _LEAST_SIDE:
                found.add(id(weight))
    return found


def _answers(name: str) -> bool:
    """Whether a layer of this name scores classes: one of `_ANSWERS`, or of a list of them."""
    return next((part for part in reversed(name.split(".")) if not part.isdigit()), "") in _ANSWERS


def build_optimizer(model: nn.Module, settings: OptimizerSettings, *, fused: bool = True) -> torch.optim.AdamW:
    """The optimiser of the settings, over the groups of :func:`named_groups`.

    Args:
        model: what is trained.
        settings: rates, decay and betas.
        fused: one kernel for all parameters; not with a gradient scaler (float16), which must unscale first.
    """
    groups = named_groups(model, settings)
    kind: type[torch.optim.AdamW] = Muon if settings.kind == "muon" else torch.optim.AdamW
    return kind(
        groups,
        lr=settings.rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=fused,
    )


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each group its share ``factor`` of its own full rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor
