"""The classes of scenes and where their glyphs come from."""

from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.glyphs import DIGITS, Glyph, Split, digit_glyph, digit_numbers
from sleuth.data.scenes.shapes import SHAPES, shape_glyph

NAMES = DIGITS + SHAPES
"""Name of each class, by label."""

SUPERCATEGORIES = ("digit",) * len(DIGITS) + ("shape",) * len(SHAPES)
"""What kind of thing each class is, by label."""


def draw_glyph(label: int, split: Split, dice: Dice) -> Glyph:
    """A glyph of a class: one of the split's handwritten digits, or the shape."""
    if label < len(DIGITS):
        return digit_glyph(dice.choice(digit_numbers(split)[label]))
    return shape_glyph(NAMES[label])
