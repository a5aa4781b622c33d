"""What every detector has in common, whatever its family: what the rest of the program may count on."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction


@runtime_checkable
class DetectorConfig(Protocol):
    """The numbers of a detector: a flat frozen dataclass of any family, every field of which has a default."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def num_classes(self) -> int:
        """Classes without no-object."""

    @property
    def num_queries(self) -> int:
        """The most objects in a picture."""

    @property
    def dim(self) -> int:
        """Embedding size of the transformer."""


class Detector(nn.Module):
    """A model that finds a set of objects in each picture. It holds no code: families share parts, not methods.

    ``backbone`` is the part that reads pixels and learns at a rate of its own; ``mask_head`` is None where the model
    has none, or knows none.
    """

    backbone: nn.Module
    mask_head: nn.Module | None

    def __init__(self) -> None:
        super().__init__()
        self.mask_head = None

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Find the objects of each picture.

        Args:
            images: the pictures.
            targets: the objects to find; read only while training, by families that learn to denoise them.
        """
        raise NotImplementedError


def has_masks(config: DetectorConfig) -> bool:
    """Whether a model has a mask head."""
    return bool(getattr(config, "masks", False))


def takes_masks(config: DetectorConfig) -> bool:
    """Whether a mask head can be added to a model of this family."""
    return "masks" in field_names(type(config))


def field_names(config: type[Any]) -> tuple[str, ...]:
    """The names of a config's numbers."""
    return tuple(field.name for field in fields(config))
