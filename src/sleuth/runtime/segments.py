"""From a model's mask head to packed masks and panoptic maps, with few masks in memory at a time."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sleuth.geometry.rle import PackedMap, PackedMasks
from sleuth.runtime.detections import Segment
from sleuth.tasks.segmentation import MASK_CHUNK, RawPanoptic, decode_panoptic, read_masks
from sleuth.types import MaskReader, SetPrediction
from sleuth.weights.checkpoint import ModelCard


@dataclass(frozen=True, eq=False)
class _Watched:
    """A mask reader that remembers which of the masks it read were not finite."""

    reader: MaskReader
    finite: list[Tensor] = field(default_factory=list)

    def __call__(self, picture: Tensor, query: Tensor) -> Tensor:
        logits = self.reader(picture, query)
        self.finite.append(logits.flatten(1).isfinite().all(1))
        return logits


def find_masks(
    prediction: SetPrediction, picture: int, queries: Int[Tensor, " masks"], *, size_hw: tuple[int, int]
) -> tuple[PackedMasks, Bool[Tensor, " masks"]]:
    """The masks of some queries of one picture, packed as soon as they are read, and whether each is finite.

    Args:
        prediction: of a model with a mask head, for pictures without padding.
        picture: row of the picture in the batch.
        queries: which queries.
        size_hw: size of the original picture.
    """
    assert prediction.masks is not None
    watched = _Watched(prediction.masks)
    watching = replace(prediction, masks=watched)
    parts = [
        PackedMasks.pack(read_masks(watching, picture, some, picture_hw=prediction.memory.input_hw, size_hw=size_hw))
        for some in (queries.split(MASK_CHUNK) if len(queries) else ())
    ]
    finite = torch.cat(watched.finite) if watched.finite else torch.zeros(0, dtype=torch.bool)
    return PackedMasks.join(parts, size_hw), finite.cpu()


def find_panoptic(
    prediction: SetPrediction, picture: int, *, size_hw: tuple[int, int], card: ModelCard, threshold: float
) -> tuple[PackedMap, tuple[Segment, ...]]:
    """The panoptic map of one picture, packed, and its segments.

    Args:
        prediction: of a model with a mask head, for pictures without padding.
        picture: row of the picture in the batch.
        size_hw: size of the original picture.
        card: the model's, for its classes.
        threshold: the score above which a query takes part.
    """
    found = decode_panoptic(
        prediction,
        picture,
        picture_hw=prediction.memory.input_hw,
        size_hw=size_hw,
        is_thing=card.is_thing,
        threshold=threshold,
    )
    return PackedMap.pack(found.segment_ids), _segments(found, card)


def _segments(found: RawPanoptic, card: ModelCard) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            id=each.id,
            label=each.label,
            name=card.names[each.label],
            category_id=card.category_ids[each.label],
            score=each.score,
            is_thing=each.is_thing,
            area=each.area,
        )
        for each in found.segments
        if each.area
    )
