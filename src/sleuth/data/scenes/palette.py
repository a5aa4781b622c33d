"""Colours: named ones for objects, quiet ones for backgrounds, and the contrast between them."""

from collections.abc import Sequence

from sleuth.data.scenes.dice import Dice

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (205, 45, 48),
    "orange": (222, 122, 34),
    "yellow": (222, 196, 48),
    "green": (44, 142, 66),
    "cyan": (62, 192, 200),
    "blue": (44, 84, 196),
    "purple": (122, 58, 170),
    "pink": (222, 120, 170),
    "white": (220, 220, 218),
    "black": (34, 34, 38),
}
"""What each colour name of a phrase means; the paint of an object varies a little around it."""

QUIET: tuple[Colour, ...] = (
    (196, 184, 156),
    (158, 172, 182),
    (150, 168, 138),
    (92, 104, 120),
    (58, 66, 92),
    (104, 82, 92),
    (186, 160, 150),
    (70, 92, 84),
    (128, 112, 92),
    (200, 200, 196),
    (82, 72, 64),
    (140, 134, 160),
)
"""Backgrounds, none of them as vivid as an object."""

_NAMES = tuple(COLOURS)
_VARIATION = 10
_CONTRAST = 46
_ENOUGH = 40


def brightness(colour: Colour) -> int:
    """Luma of a colour, 0 to 255."""
    return (77 * colour[0] + 150 * colour[1] + 29 * colour[2]) >> 8


def vary(colour: Colour, amount: int, dice: Dice) -> Colour:
    """A colour near this one, kept between 30 and 225 so that light and grain never overflow."""
    red, green, blue = (min(225, max(30, channel + dice.integer(-amount, amount))) for channel in colour)
    return red, green, blue


def _apart(one: Colour, other: Colour) -> int:
    """How different two colours of touching objects look: the change of luma, or half the largest of a channel."""
    channels = max(abs(a - b) for a, b in zip(one, other, strict=True))
    return max(channels // 2, abs(brightness(one) - brightness(other)))


def visible_colour(behind: Colour, dice: Dice, touched: Sequence[Colour] = ()) -> tuple[str, Colour]:
    """A named colour that stands out.

    Args:
        behind: what lies behind on average; the colour differs from it in brightness.
        dice: where the decision comes from.
        touched: paints of the objects it overlaps; the colour differs from these in brightness or hue.

    Returns:
        Its name and the paint.
    """
    level = brightness(behind)

    def contrast(name: str) -> int:
        paint = COLOURS[name]
        return min(_CONTRAST, abs(brightness(paint) - level), *(_apart(paint, other) for other in touched))

    best = max(dice.sample(6, _NAMES), key=contrast)
    if contrast(best) < _ENOUGH:
        best = max(_NAMES, key=contrast)
    return best, vary(COLOURS[best], _VARIATION, dice)
