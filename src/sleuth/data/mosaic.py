"""Mosaic and mixup: one training picture from several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from sleuth.data.draws import between, uniform
from sleuth.data.moves import GREY, Orientation, Window, cut, hw_of, masks_on_canvas, on_canvas
from sleuth.data.samples import Sample

_NEAREST, _FARTHEST = 0.3, 0.7


@dataclass(frozen=True)
class Mosaic:
    """Four pictures around a random point of one canvas.

    Each is brought to a random scale. Where it is larger than its corner of the canvas, a random part of it is shown;
    where it is smaller, it touches the point, and the rest of its corner is grey. A part is cut out before it is
    resized, so that a mosaic costs about as much as one picture.

    Args:
        scale: least and greatest size of a picture, as a share of the size it would have by itself.
        least_visible: an object that is cut is dropped where less than this share of its box is left.

    Source: Bochkovskiy et al. 2020, YOLOv4, section 3.3.
    """

    scale: tuple[float, float] = (0.4, 1.0)
    least_visible: float = 0.15

    def __call__(
        self, samples: Sequence[Sample], size_hw: tuple[int, int], orient: Callable[[], Orientation]
    ) -> Sample:
        """The mosaic; it has the name of the first picture.

        Args:
            samples: four pictures: upper left, upper right, lower left, lower right.
            size_hw: height and width of the mosaic, at least 2 pixels each.
            orient: draws how a picture lies.
        """
        height, width = size_hw
        y, x = (max(1, min(side - 1, round(side * uniform(_NEAREST, _FARTHEST)))) for side in size_hw)
        corners = [Window(0, 0, y, x), Window(0, x, y, width - x), Window(y, 0, height - y, x)]
        corners.append(Window(y, x, height - y, width - x))
        canvas = samples[0].image.new_full((3, height, width), GREY)
        boxes, labels, masks = [], [], []
        for sample, corner in zip(samples, corners, strict=True):
            piece = self._piece(sample, corner, size_hw, orient())
            high, wide = hw_of(piece)
            # The side that touches the point: below and right for the upper left picture, and so on.
            top = corner.top + (corner.height - high if corner.top == 0 else 0)
            left = corner.left + (corner.width - wide if corner.left == 0 else 0)
            canvas[:, top : top + high, left : left + wide] = piece.image
            boxes.append(piece.boxes_xyxy_px + torch.tensor([left, top, left, top]))
            labels.append(piece.labels)
            if piece.masks is not None:
                masks.append(masks_on_canvas(piece.masks, size_hw, top, left))
        return replace(
            samples[0],
            image=canvas,
            boxes_xyxy_px=torch.cat(boxes),
            labels=torch.cat(labels),
            masks=torch.cat(masks) if masks else None,
        )

    def _piece(self, sample: Sample, corner: Window, size_hw: tuple[int, int], orientation: Orientation) -> Sample:
        """What a picture shows in its corner, of the corner's size or smaller."""
        lain_hw = orientation.hw(hw_of(sample))
        scale = min(size_hw[0] / lain_hw[0], size_hw[1] / lain_hw[1]) * uniform(*self.scale)
        part, shown = zip(
            *(_stretch(side, room, scale) for side, room in zip(lain_hw, corner.hw, strict=True)), strict=True
        )
        # The part is chosen in the picture as it is stored: any part is as likely as its mirror image.
        (high, wide), shown_hw = orientation.hw(part), orientation.hw(shown)
        rows, columns = hw_of(sample)
        window = Window(between(0, rows - high), between(0, columns - wide), high, wide)
        return orientation.of(cut(sample, window, shown_hw, self.least_visible))


def _stretch(side: int, room: int, scale: float) -> tuple[int, int]:
    """Along one axis: pixels of the picture that are used, and pixels of the canvas that they fill."""
    scaled = side * scale
    if scaled <= room:
        return side, max(1, round(scaled))
    return max(1, min(side, round(room / scale))), room


def mixup(one: Sample, other: Sample) -> Sample:
    """Two pictures laid over each other, each seen to about a half, with the objects of both.

    Source: Zhang et al. 2018, mixup; for detection, Zhang et al. 2019, Bag of Freebies.
    """
    size_hw = max(hw_of(one)[0], hw_of(other)[0]), max(hw_of(one)[1], hw_of(other)[1])
    share = uniform(0.4, 0.6)
    one, other = (on_canvas(sample, size_hw, 0, 0) for sample in (one, other))
    masks = None
    if one.masks is not None and other.masks is not None:
        masks = torch.cat((one.masks, other.masks))
    return replace(
        one,
        image=torch.lerp(other.image.float(), one.image.float(), share).round_().to(torch.uint8),
        boxes_xyxy_px=torch.cat((one.boxes_xyxy_px, other.boxes_xyxy_px)),
        labels=torch.cat((one.labels, other.labels)),
        masks=masks,
    )
