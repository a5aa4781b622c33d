"""Looking at a picture for the class of each pixel: as a whole, in windows, at several sizes, mirrored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.geometry.tiles import Tile, Tiling
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.tasks.semantic import pixel_logits
from sleuth.types.batches import ImageBatch

MOST_SCALE = 8.0


@dataclass(frozen=True)
class Views:
    """How a picture is looked at.

    Args:
        window: parts of the model's input that are looked at one by one, with their overlap; None for the whole.
        scales: sizes that are looked at, as multiples of the size at which the model sees the picture; scores of all
            are averaged.
        flip: look at the mirrored picture, too.
        batch_size: windows at a time.

    Raises:
        UserError: no sizes, or a size out of range.

    Source: sliding windows, sizes and mirrored pictures as in Strudel et al. 2021, section 4.2.
    """

    window: Tiling | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    batch_size: int = 8

    def __post_init__(self) -> None:
        if not self.scales:
            raise UserError("there are no sizes to look at", where="scales", mend="such as 0.75,1,1.25")
        for scale in self.scales:
            if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
                mend = f"give multiples between {1 / MOST_SCALE:g} and {MOST_SCALE:g}, such as 0.75,1,1.25"
                raise UserError(f"a size of {scale:g} times the usual one is out of range", where="scales", mend=mend)
        if self.batch_size < 1:
            raise UserError(f"{self.batch_size} windows at a time are none", where="batch size", mend="give 1 or more")


ONE_LOOK = Views()
"""The whole picture at its usual size."""


@torch.inference_mode()
def class_scores(
    model: nn.Module,
    image: UInt8[Tensor, "3 _ _"],
    preprocess: Preprocess,
    views: Views = ONE_LOOK,
) -> Float[Tensor, "classes height width"]:
    """The probability of each class at every pixel of the model's input.

    Where windows overlap their logits are averaged, and over sizes and mirrored pictures the probabilities.

    Args:
        model: in evaluation mode.
        image: RGB, 0 to 255.
        preprocess: how the picture becomes the model's input.
        views: how it is looked at.

    Raises:
        UserError: the picture is smaller than a patch.
    """
    device = next(model.parameters()).device
    usual = preprocess_images([image], preprocess)
    height, width = usual.pixels.shape[2:]
    total = torch.zeros((), device=device)
    for scale in views.scales:
        images = usual if scale == 1 else preprocess_images([_resized(image, preprocess, scale)], _as_it_is(preprocess))
        for mirrored in (False, True) if views.flip else (False,):
            pixels = images.pixels.flip(-1) if mirrored else images.pixels
            scores = _logits(model, pixels.to(device), views).softmax(dim=1)
            scores = scores.flip(-1) if mirrored else scores
            if tuple(scores.shape[2:]) != (height, width):
                scores = F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
            total = total + scores[0]
    return total / (len(views.scales) * (1 + views.flip))


def _logits(
    model: nn.Module, pixels: Float[Tensor, "1 3 height width"], views: Views
) -> Float[Tensor, "1 classes height width"]:
    """Logits of each pixel: at once, or the mean of those of the windows that it is in."""
    size_hw = (pixels.shape[2], pixels.shape[3])
    tiles = [Tile(0, 0, size_hw[1], size_hw[0])] if views.window is None else views.window.tiles(size_hw)
    if len(tiles) == 1:
        return _asked(model, pixels)
    summed: Tensor | None = None
    times = torch.zeros(size_hw, device=pixels.device)
    for first in range(0, len(tiles), views.batch_size):
        some: Sequence[Tile] = tiles[first : first + views.batch_size]
        found = _asked(model, torch.cat([tile.crop(pixels) for tile in some]))
        if summed is None:
            summed = found.new_zeros(1, found.shape[1], *size_hw)
        for tile, logits in zip(some, found, strict=True):
            tile.crop(summed)[0].add_(logits)
            tile.crop(times).add_(1)
    assert summed is not None
    return summed / times


def _asked(model: nn.Module, pixels: Float[Tensor, "batch 3 height width"]) -> Tensor:
    valid = torch.ones_like(pixels[:, 0], dtype=torch.bool)
    return pixel_logits(model(ImageBatch(pixels, valid)), (pixels.shape[2], pixels.shape[3]))


def _resized(image: Tensor, preprocess: Preprocess, scale: float) -> Tensor:
    height, width = (max(1, round(side * scale)) for side in preprocess.size_for((image.shape[1], image.shape[2])))
    return TF.resize(image.contiguous(), [height, width], antialias=True)


def _as_it_is(preprocess: Preprocess) -> Preprocess:
    """The same without another size."""
    return Preprocess(
        resize="none",
        mean=preprocess.mean,
        std=preprocess.std,
        rescale=preprocess.rescale,
        normalise=preprocess.normalise,
    )
