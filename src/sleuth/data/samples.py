"""One picture with its boxes, and the protocol of everything that can serve such pictures."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from sleuth.errors import UserError

ANNOTATIONS = ("boxes", "instances", "panoptic")
"""What objects come with: boxes alone; boxes and masks; or both, with regions of stuff as objects too."""


def check_annotations(word: str) -> str:
    """The word itself, if it is one of `ANNOTATIONS`.

    Raises:
        UserError: it is another.
    """
    if word not in ANNOTATIONS:
        raise UserError(
            f"there are no annotations {word!r}", where="annotations", mend=f"choose one of {', '.join(ANNOTATIONS)}"
        )
    return word


@dataclass(frozen=True)
class Sample:
    """One picture with its objects, before any augmentation or normalisation.

    Args:
        image: RGB picture, 0 to 255.
        boxes_xyxy_px: boxes in pixels of ``image``: left, top, right, bottom.
        labels: contiguous class ids, 0 to classes - 1.
        name: the picture's file name or scene number: errors and skipped steps name it.
        image_id: the picture's id in its data set.
        size_hw: size of the original picture in pixels, which augmentation leaves as it is.
        masks: the visible pixels of each object in ``image``, or None where only boxes were asked for.
    """

    image: UInt8[Tensor, "3 height width"]
    boxes_xyxy_px: Float32[Tensor, "objects 4"]
    labels: Int64[Tensor, " objects"]
    name: str
    image_id: int
    size_hw: tuple[int, int]
    masks: Bool[Tensor, "objects height width"] | None = None


@runtime_checkable
class SampleSource(Protocol):
    """Anything that serves numbered samples: files in a folder, or scenes composed on the fly.

    ``load(index)`` is a pure function of the source and the index, so that a training run can be resumed exactly.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        ...

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id that each label has in the data set's own format."""
        ...

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """For each label, whether it is a countable thing; stuff, such as sky, is one segment a picture."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def load(self, index: int) -> Sample:
        """The sample at ``index``, 0 to len - 1."""
        ...
