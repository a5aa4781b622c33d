"""What a writer of one family makes of a model, for a folder in Hugging Face's form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sleuth.weights.checkpoint import LoadedModel, ModelCard

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Writing:
    """A model as that library has it.

    Args:
        values: its config.json.
        tensors: its state dict.
        processor: its image processor.
        processor_format: what that processor says of annotations.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    processor: str
    processor_format: str = "coco_detection"


Writer = Callable[[LoadedModel], Writing]
"""Raises `UserError` for a model that the library cannot express."""


def card_json(card: ModelCard) -> dict[str, Any]:
    """The fields of config.json that say what the classes are; reading them gives the card's own again."""
    return {
        "id2label": {str(label): name for label, name in enumerate(card.names)},
        "label2id": {name: label for label, name in enumerate(card.names)},
        "sleuth": {"category_ids": list(card.category_ids), "is_thing": list(card.is_thing)},
    }


def plain_state(loaded: LoadedModel, *, counters: bool = True) -> dict[str, Tensor]:
    """The weights under our own names.

    Args:
        loaded: the model.
        counters: False leaves out those of batch norm, as where it is frozen; only training reads them.
    """
    state = loaded.model.state_dict()
    return {k: v.detach().cpu().contiguous() for k, v in state.items() if counters or not k.endswith(_COUNTER)}
