"""Which weights of a model a recipe trains: all, those of some parts, or adapters beside them."""

from collections.abc import Collection, Sequence

from torch import nn

from sleuth.training.adapters import LoraSettings, add_adapters
from sleuth.training.parts import freeze


def choose_trained(
    model: nn.Module, frozen: Sequence[str], lora: LoraSettings | None, *, also: Collection[str] = ()
) -> list[str]:
    """Freeze parts of a model and put adapters beside its layers, as a recipe says.

    Args:
        model: to be changed.
        frozen: parts that are not trained.
        lora: of the adapters; None puts none.
        also: see `add_adapters`.

    Returns:
        What was done, in a line each.

    Raises:
        UserError: there is no such part or layer, or nothing is left to train.
    """
    remarks = []
    if frozen:
        freeze(model, frozen)
        remarks.append(f"frozen: {', '.join(frozen)}")
    if lora is not None:
        layers = add_adapters(model, lora, also=also)
        remarks.append(f"LoRA of rank {lora.rank} in {len(layers)} layers")
    if frozen or lora is not None:
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        remarks.append(f"trains {trained:,} of {sum(p.numel() for p in model.parameters()):,} parameters")
    return remarks
