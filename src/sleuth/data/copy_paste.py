"""Copy-paste: objects of another picture set into free places."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from sleuth.data.draws import between, uniform
from sleuth.data.moves import Window, cut, hw_of, keep, masks_on_canvas
from sleuth.data.samples import Sample

_TRIES = 12
_SCALES = 0.8, 1.25
_MARGIN = 0.1


@dataclass(frozen=True)
class CopyPaste:
    """Objects of another picture, each set where little else is.

    With masks, the pixels of the object alone are copied, and what they hide is taken from the masks below. Without,
    the box is copied with a margin that fades out, and with it any object that lies in the box for the most part.

    Args:
        objects: most objects that are pasted into one picture.
        overlap: an object is not pasted where it would share more than this part of itself, or of another's box.
        least_visible: an object of which less is left is dropped.

    Source: Dwibedi et al. 2017, Cut, Paste and Learn; Ghiasi et al. 2021, Simple Copy-Paste.
    """

    objects: int = 5
    overlap: float = 0.1
    least_visible: float = 0.15

    def __call__(self, sample: Sample, other: Sample, scale: float) -> Sample:
        """The sample with some objects of the other pasted in.

        Args:
            sample: the picture to paste into.
            other: where objects are taken from.
            scale: brings the other picture to the scale of the sample.
        """
        if not len(other.labels):
            return sample
        rows = torch.randperm(len(other.labels))[: between(1, self.objects)].tolist()
        image = sample.image.clone()
        sample = replace(sample, image=image, masks=None if sample.masks is None else sample.masks.clone())
        for row in rows:
            sample = self._paste(sample, other, row, scale * uniform(*_SCALES))
        return sample

    def _paste(self, sample: Sample, other: Sample, row: int, scale: float) -> Sample:
        box = other.boxes_xyxy_px[row]
        if other.masks is not None:
            other, row = keep(other, torch.arange(len(other.labels)) == row), 0
        window = _around(box, hw_of(other), 0.0 if other.masks is not None else _MARGIN)
        size_hw = max(1, round(window.height * scale)), max(1, round(window.width * scale))
        height, width = hw_of(sample)
        if size_hw[0] > height or size_hw[1] > width:
            return sample
        piece = cut(other, window, size_hw, 0.5)
        if not len(piece.labels) or (piece.masks is not None and not bool(piece.masks.any())):
            return sample
        place = self._free_place(sample, piece)
        return sample if place is None else self._set_in(sample, piece, *place)

    def _free_place(self, sample: Sample, piece: Sample) -> tuple[int, int] | None:
        """The first of some random places that is free enough, or None."""
        (height, width), (high, wide) = hw_of(sample), hw_of(piece)
        tops, lefts = torch.randint(0, height - high + 1, (_TRIES,)), torch.randint(0, width - wide + 1, (_TRIES,))
        spots = torch.stack((lefts, tops, lefts + wide, tops + high), dim=1).float()
        free = _most_shared(spots, sample.boxes_xyxy_px) <= self.overlap
        if not bool(free.any()):
            return None
        first = int(free.int().argmax())
        return int(tops[first]), int(lefts[first])

    def _set_in(self, sample: Sample, piece: Sample, top: int, left: int) -> Sample:
        high, wide = hw_of(piece)
        spot = sample.image[:, top : top + high, left : left + wide]
        seen = _fading(high, wide) if piece.masks is None else piece.masks[0].float()
        spot.copy_(torch.lerp(spot.float(), piece.image.float(), seen.to(spot.device)).round_().to(torch.uint8))
        if sample.masks is not None and piece.masks is not None:
            sample = self._hidden(sample, piece.masks[0], top, left)
        boxes = piece.boxes_xyxy_px + torch.tensor([left, top, left, top])
        masks = sample.masks
        if masks is not None and piece.masks is not None:
            masks = torch.cat((masks, masks_on_canvas(piece.masks, hw_of(sample), top, left)))
        return replace(
            sample,
            boxes_xyxy_px=torch.cat((sample.boxes_xyxy_px, boxes)),
            labels=torch.cat((sample.labels, piece.labels)),
            masks=masks,
        )

    def _hidden(self, sample: Sample, over: Bool[Tensor, "high wide"], top: int, left: int) -> Sample:
        """The sample with its masks, and the boxes around them, reduced to what is seen beside a pasted object."""
        assert sample.masks is not None
        before = sample.masks.flatten(1).sum(1)
        sample.masks[:, top : top + over.shape[0], left : left + over.shape[1]] &= ~over
        after = sample.masks.flatten(1).sum(1)
        boxes = sample.boxes_xyxy_px.clone()
        for row in torch.nonzero((after < before) & (after > 0)).flatten().tolist():
            rows, columns = sample.masks[row].any(1).nonzero(), sample.masks[row].any(0).nonzero()
            tight = [float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1]
            shrunk = _common(boxes[row], torch.tensor(tight))
            boxes[row] = shrunk if bool((shrunk[2:] > shrunk[:2]).all()) else torch.tensor(tight)
        sample = replace(sample, boxes_xyxy_px=boxes)
        return keep(sample, (after > 0) & (after >= self.least_visible * before))


def _around(box: Float32[Tensor, "4"], size_hw: tuple[int, int], margin: float) -> Window:
    """Whole pixels around a box, with a margin on each side as a share of the box."""
    left, top, right, bottom = box.tolist()
    more_x, more_y = margin * (right - left), margin * (bottom - top)
    first, last = max(0, math.floor(top - more_y)), min(size_hw[0], math.ceil(bottom + more_y))
    start, end = max(0, math.floor(left - more_x)), min(size_hw[1], math.ceil(right + more_x))
    return Window(first, start, max(1, last - first), max(1, end - start))


def _common(one: Float[Tensor, "*rows 4"], other: Float[Tensor, "*rows 4"]) -> Float[Tensor, "*rows 4"]:
    return torch.cat((one[..., :2].maximum(other[..., :2]), one[..., 2:].minimum(other[..., 2:])), dim=-1)


def _most_shared(spots: Float32[Tensor, "spots 4"], boxes: Float32[Tensor, "boxes 4"]) -> Float32[Tensor, " spots"]:
    """The largest part that each spot and a box have in common, of the smaller of the two."""
    if not len(boxes):
        return torch.zeros(len(spots))
    common = _common(spots[:, None].expand(-1, len(boxes), -1), boxes.expand(len(spots), -1, -1))
    area = (common[..., 2:] - common[..., :2]).clamp(min=0).prod(-1)
    smaller = _areas(spots)[:, None].minimum(_areas(boxes))
    return (area / smaller.clamp(min=1e-6)).amax(1)


def _areas(boxes: Float32[Tensor, "boxes 4"]) -> Float32[Tensor, " boxes"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _fading(high: int, wide: int) -> Float32[Tensor, "high wide"]:
    """1 inside, falling to nearly 0 along the border."""
    sides = []
    for length in (high, wide):
        # The margin is a share of the box, hence this share of the box with its margins.
        border = max(1.0, length * _MARGIN / (1 + 2 * _MARGIN))
        steps = torch.arange(length) + 0.5
        sides.append((steps.minimum(length - steps) / border).clamp(max=1.0))
    return sides[0][:, None] * sides[1]
