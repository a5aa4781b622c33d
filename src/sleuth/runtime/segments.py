"""From a model's mask head to packed masks and panoptic maps, with few masks in memory at a time."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.geometry.rle import PackedMap, PackedMasks
from sleuth.runtime.detections import Segment
from sleuth.tasks.segmentation import MASK_CHUNK, PanopticRule, RawPanoptic, decode_panoptic, read_masks
from sleuth.types.predictions import MaskReader, SetPrediction
from sleuth.weights.checkpoint import ModelCard


class KeptMasks:
    """A mask reader that reads no mask twice, and knows which of them are finite.

    Args:
        reader: of a prediction.
    """

    def __init__(self, reader: MaskReader) -> None:
        self._reader = reader
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __call__(self, picture: Int[Tensor, " masks"], query: Int[Tensor, " masks"]) -> Float[Tensor, "masks _ _"]:
        """Mask logits of the chosen queries; a quarter of the input's size, so that keeping them takes little."""
        wanted = list(zip(picture.tolist(), query.tolist(), strict=True))
        new = [row for row, key in enumerate(wanted) if key not in self._kept]
        if new:
            logits = self._reader(picture[new], query[new])
            self._kept |= {wanted[row]: mask for row, mask in zip(new, logits, strict=True)}
        return torch.stack([self._kept[key] for key in wanted])

    def are_finite(self, picture: int, queries: Int[Tensor, " masks"]) -> Bool[Tensor, " masks"]:
        """Whether each of the masks is, all of which have been read."""
        found = [bool(self._kept[picture, query].isfinite().all()) for query in queries.tolist()]
        return torch.tensor(found, dtype=torch.bool)


def keep_masks(prediction: SetPrediction) -> SetPrediction:
    """The same prediction with a mask reader that reads no mask twice."""
    return prediction if prediction.masks is None else replace(prediction, masks=KeptMasks(prediction.masks))


def find_masks(
    prediction: SetPrediction, picture: int, queries: Int[Tensor, " masks"], *, size_hw: tuple[int, int]
) -> tuple[PackedMasks, Int[Tensor, " finite"]]:
    """The finite masks among those of some queries of one picture, packed as soon as they are read, and their rows.

    Args:
        prediction: of a model with a mask head, from `keep_masks`, for pictures without padding.
        picture: row of the picture in the batch.
        queries: which queries.
        size_hw: size of the original picture.
    """
    assert isinstance(prediction.masks, KeptMasks)
    parts = [
        PackedMasks.pack(read_masks(prediction, picture, some, picture_hw=prediction.memory.input_hw, size_hw=size_hw))
        for some in (queries.split(MASK_CHUNK) if len(queries) else ())
    ]
    rows = prediction.masks.are_finite(picture, queries).nonzero()[:, 0]
    return PackedMasks.join(parts, size_hw).keep(rows.tolist()), rows


def find_panoptic(
    prediction: SetPrediction, picture: int, *, size_hw: tuple[int, int], card: ModelCard, rule: PanopticRule
) -> tuple[PackedMap, tuple[Segment, ...]]:
    """The panoptic map of one picture, packed, and its segments.

    Args:
        prediction: of a model with a mask head, for pictures without padding.
        picture: row of the picture in the batch.
        size_hw: size of the original picture.
        card: the model's, for its classes.
        rule: who takes part, and which pixels are nobody's.
    """
    found = decode_panoptic(
        prediction,
        picture,
        picture_hw=prediction.memory.input_hw,
        size_hw=size_hw,
        is_thing=card.is_thing,
        rule=rule,
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
