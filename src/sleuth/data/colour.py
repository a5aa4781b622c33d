"""Random colours: brightness, contrast, saturation and hue as one change of the colour axes, quick on bytes."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sleuth.data.draws import uniform

_GREY = (0.299, 0.587, 0.114)
# Rows: brightness and the two colour axes of television (YIQ). A hue turns the latter two.
_TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


@dataclass(frozen=True)
class ColourJitter:
    """Random colours of a picture.

    All four changes are linear in the colours, so that they become one 3x3 matrix and one shift, rounded and clipped
    once. (Usual implementations turn the hue in HSV space, and clip after each change.)

    Args:
        brightness: the picture is multiplied by 1 - brightness to 1 + brightness.
        contrast: so is its distance from its mean grey.
        saturation: so is the distance of each pixel from its grey.
        hue: colours turn by at most this share of the colour circle, to both sides; 0.5 is the opposite colour.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))

    def __call__(self, image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 height width"]:
        """The picture in other colours, drawn from PyTorch's global generator."""
        brightness, contrast, saturation = (
            uniform(1 - strength, 1 + strength) for strength in (self.brightness, self.contrast, self.saturation)
        )
        matrix = colour_matrix(saturation, uniform(-self.hue, self.hue)) * (brightness * contrast)
        pixels = image.reshape(3, -1).float()
        grey = float(torch.tensor(_GREY) @ pixels.mean(1)) * brightness
        changed = matrix @ pixels + (1 - contrast) * grey
        return changed.round_().clamp_(0, 255).to(torch.uint8).view(image.shape)


def colour_matrix(saturation: float, hue: float) -> Float[Tensor, "3 3"]:
    """The change of red, green and blue that scales the saturation and turns the hue, and leaves greys alone.

    >>> colour_matrix(1.0, 0.0).round(decimals=3).abs().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angle = 2 * math.pi * hue
    cosine, sine = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    axes = torch.tensor(_TO_YIQ)
    return torch.linalg.inv(axes) @ turn @ axes
