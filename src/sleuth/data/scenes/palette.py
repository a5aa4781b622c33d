"""Colours: named ones for objects, quiet ones for backgrounds, and the contrast between them."""

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
_CONTRAST = 62


def brightness(colour: Colour) -> int:
    """Luma of a colour, 0 to 255."""
    return (77 * colour[0] + 150 * colour[1] + 29 * colour[2]) >> 8


def vary(colour: Colour, amount: int, dice: Dice) -> Colour:
    """A colour near this one, kept between 30 and 225 so that light and grain never overflow."""
    red, green, blue = (min(225, max(30, channel + dice.integer(-amount, amount))) for channel in colour)
    return red, green, blue


def visible_colour(behind: Colour, dice: Dice) -> tuple[str, Colour]:
    """A named colour that stands out against what lies behind, by brightness alone.

    Returns:
        Its name and the paint.
    """
    level = brightness(behind)
    tried = dice.sample(6, _NAMES)
    best = max(tried, key=lambda name: min(abs(brightness(COLOURS[name]) - level), _CONTRAST))
    if abs(brightness(COLOURS[best]) - level) < _CONTRAST:
        best = "black" if level > 128 else "white"
    return best, vary(COLOURS[best], _VARIATION, dice)
