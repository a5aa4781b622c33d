"""Parts of a model that training leaves as they are."""

from collections.abc import Sequence

from torch import nn

from sleuth.errors import UserError
from sleuth.training.sections import check_keys

DETECTOR = "detector"
"""Every part but the mask head."""

_MASK_HEAD = "mask_head"


def part_names(model: nn.Module) -> list[str]:
    """The parts of a model that have weights, by its own names for them."""
    return [name for name, part in model.named_children() if any(True for _ in part.parameters())]


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Stop training parts of a model: no gradient and no optimiser state; see also :func:`train_mode`.

    Args:
        model: the model.
        parts: names of its parts, or ``detector`` for all but the mask head.

    Raises:
        UserError: there is no such part, or nothing is left to train.
    """
    names = part_names(model)
    check_keys(parts, [*names, DETECTOR], what="part", where="model.freeze")
    frozen = {name for name in names if name in parts or (DETECTOR in parts and name != _MASK_HEAD)}
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("every part is frozen: nothing is left to train", where="model.freeze", mend="freeze fewer")


def train_mode(model: nn.Module) -> None:
    """Training mode for all parts that have a trained weight; norm statistics and dropout of the others stay still.

    Within a part that is trained, batch norms that are frozen keep their statistics, as beside adapters.
    """
    model.train()
    for name in part_names(model):
        part = model.get_submodule(name)
        if not any(parameter.requires_grad for parameter in part.parameters()):
            part.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.weight is not None and not module.weight.requires_grad:
            module.eval()
