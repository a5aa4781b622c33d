"""Segmentation: from mask logits to instance masks and panoptic maps of the original picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Int32
from PIL import Image
from torch import Tensor

from sleuth.types.predictions import SetPrediction

MASK_CHUNK = 8
"""Queries whose masks are computed at a time: what bounds the memory of a prediction."""

SMALLEST_AREA = 4
VOID = 0


@dataclass(frozen=True)
class PanopticRule:
    """Who takes part in parting a picture, and which pixels are nobody's; it belongs to a trained model.

    Args:
        threshold: the score above which a query takes part; 0.85 in the original.
        least_mask: a pixel that no query wants with this probability is nobody's; at 0, as in the original, every pixel
            is somebody's.

    Raises:
        ValueError: a number that is no probability.
    """

    threshold: float = 0.85
    least_mask: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and 0 <= self.least_mask <= 1):
            raise ValueError(f"threshold {self.threshold} and least_mask {self.least_mask} must be from 0 to 1")


PAPER_RULE = PanopticRule()


@dataclass(frozen=True)
class RawSegment:
    """One segment of a panoptic map.

    Args:
        id: its number in the map, from 1.
        label: contiguous class id.
        score: probability of the class, 0 to 1; of merged stuff, the best.
        is_thing: whether it is one object, rather than stuff.
        area: pixels.
    """

    id: int
    label: int
    score: float
    is_thing: bool
    area: int


@dataclass(frozen=True)
class RawPanoptic:
    """A picture parted into segments.

    Args:
        segment_ids: which segment each pixel belongs to; 0 for none.
        segments: what they are, in the order of their ids.
    """

    segment_ids: Int32[Tensor, "height width"]
    segments: tuple[RawSegment, ...]


@torch.no_grad()
def read_masks(
    prediction: SetPrediction,
    picture: int,
    queries: Int[Tensor, " masks"],
    *,
    picture_hw: tuple[int, int],
    size_hw: tuple[int, int],
) -> Bool[Tensor, "masks height width"]:
    """Instance masks of chosen queries of one picture, as the original's PostProcessSegm gives them.

    Enlarged bilinearly to the padded input, cut to the picture, thresholded at one half, brought to the original size
    by nearest neighbours. Computed for a few queries at a time, and for no others.

    Args:
        prediction: of a model with a mask head.
        picture: row of the picture in the batch.
        queries: which queries.
        picture_hw: size of the picture within the input, without padding.
        size_hw: size of the original picture.

    Raises:
        ValueError: the model has no mask head.
    """
    found = [
        _resized(_enlarged(logits, prediction, picture_hw) > 0, size_hw)
        for logits in _read_in_chunks(prediction, picture, queries)
    ]
    return torch.cat(found) if found else torch.zeros(0, *size_hw, dtype=torch.bool, device=queries.device)


@torch.no_grad()
def decode_panoptic(
    prediction: SetPrediction,
    picture: int,
    *,
    picture_hw: tuple[int, int],
    size_hw: tuple[int, int],
    is_thing: Sequence[bool],
    rule: PanopticRule = PAPER_RULE,
) -> RawPanoptic:
    """Give each pixel to the query that wants it most, as the original's PostProcessPanoptic does.

    Queries above the threshold compete pixel by pixel. Pixels of several stuff queries of one class go to the first of
    them. Queries left with four pixels or fewer step back and the others compete anew, until none is so small.

    Args:
        prediction: of a model with a mask head.
        picture: row of the picture in the batch.
        picture_hw: size of the picture within the input, without padding.
        size_hw: size of the original picture, and of the map.
        is_thing: for each label.
        rule: who takes part, and which pixels are nobody's.

    Raises:
        ValueError: the model has no mask head.

    Source: Carion et al. 2020, section 4.2.
    """
    scores, labels = prediction.logits[-1, picture].float().softmax(-1).max(-1)
    no_object = prediction.logits.shape[-1] - 1
    kept = ((labels != no_object) & (scores > rule.threshold)).nonzero()[:, 0]
    # At a quarter of the size all masks together are small; they are enlarged a few at a time.
    read = list(_read_in_chunks(prediction, picture, kept))
    finite = [logits.flatten(1).isfinite().all(1) for logits in read]
    if not any(bool(some.any()) for some in finite):
        return RawPanoptic(torch.zeros(size_hw, dtype=torch.int32), ())
    # A mask that is not finite would win every pixel, or spoil it for the others.
    kept, logits = kept[torch.cat(finite)], torch.cat(read)[torch.cat(finite)]
    nobody = len(logits)
    owner = _owners(logits, prediction, picture_hw, size_hw, rule.least_mask)
    owner = torch.cat([_first_of_stuff(labels[kept].tolist(), is_thing), torch.tensor([nobody])])[owner]
    while True:
        areas = torch.bincount(owner.flatten(), minlength=len(kept) + 1)[: len(kept)]
        large = (areas > SMALLEST_AREA).to(kept.device)
        if bool(large.all()) or not bool(large.any()):
            break
        kept, logits = kept[large], logits[large]
        owner = _owners(logits, prediction, picture_hw, size_hw, rule.least_mask)
    found = zip(labels[kept].tolist(), scores[kept].tolist(), areas.tolist(), strict=True)
    segments = tuple(
        RawSegment(id=number, label=label, score=score, is_thing=bool(is_thing[label]), area=area)
        for number, (label, score, area) in enumerate(found, start=1)
    )
    ids = torch.where(owner < len(kept), owner + 1, VOID)
    return RawPanoptic(ids.to(torch.int32).cpu(), segments)


def _read_in_chunks(prediction: SetPrediction, picture: int, queries: Tensor) -> Iterator[Tensor]:
    """Mask logits at a quarter of the input's size, a few queries at a time."""
    if prediction.masks is None:
        raise ValueError("the model has no mask head")
    for some in queries.split(MASK_CHUNK) if len(queries) else ():
        yield prediction.masks(torch.full_like(some, picture), some).float()


def _enlarged(logits: Tensor, prediction: SetPrediction, picture_hw: tuple[int, int]) -> Tensor:
    """Mask logits at every pixel of the picture within the input."""
    at_input = F.interpolate(logits[:, None], size=prediction.memory.input_hw, mode="bilinear", align_corners=False)
    return at_input[:, 0, : picture_hw[0], : picture_hw[1]]


def _resized(masks: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Masks at another size, by PyTorch's nearest neighbours, as in the original."""
    if masks.shape[-2:] == size_hw:
        return masks
    return F.interpolate(masks[:, None].to(torch.uint8), size=size_hw, mode="nearest")[:, 0].bool()


def _owners(
    logits: Tensor,
    prediction: SetPrediction,
    picture_hw: tuple[int, int],
    size_hw: tuple[int, int],
    least_mask: float,
) -> Tensor:
    """The row of ``logits`` that is greatest at each pixel of the original picture; one beyond them for nobody."""
    best: Tensor | None = None
    owner = torch.zeros(picture_hw, dtype=torch.int64, device=logits.device)
    for first in range(0, len(logits), MASK_CHUNK):
        value, row = _enlarged(logits[first : first + MASK_CHUNK], prediction, picture_hw).max(0)
        if best is None:
            best, owner = value, row
        else:
            better = value > best
            best, owner = torch.where(better, value, best), torch.where(better, row + first, owner)
    if best is not None and least_mask > 0:
        owner = owner.masked_fill(best.sigmoid() < least_mask, len(logits))
    if picture_hw == size_hw:
        return owner.cpu()
    # Pillow's neighbours, as in the original; PyTorch rounds ties another way.
    picture = Image.fromarray(owner.to(torch.int32).cpu().numpy())
    resized = picture.resize(size_hw[::-1], Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized)).to(torch.int64)


def _first_of_stuff(labels: Sequence[int], is_thing: Sequence[bool]) -> Tensor:
    """For each query the one that its pixels go to: the first of its class for stuff, itself for things."""
    first: dict[int, int] = {}
    return torch.tensor([row if is_thing[label] else first.setdefault(label, row) for row, label in enumerate(labels)])
