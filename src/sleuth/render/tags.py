"""Filled tags with text, placed where no other tag is."""

from collections.abc import Iterable

from PIL import Image, ImageDraw

from sleuth.render.palette import Colour, font, ink_on

Rectangle = tuple[float, float, float, float]


def line_width(height: int, width: int) -> int:
    """Thickness of an outline in pixels for a picture of this size."""
    return max(2, round(max(height, width) / 320))


def text_size(height: int, width: int) -> int:
    """Height of letters in pixels for a picture of this size."""
    return max(11, round(max(height, width) / 45))


class Tags:
    """Draws tags on a picture and remembers where they are.

    Args:
        canvas: drawn on in place; letters grow with it.
    """

    def __init__(self, canvas: Image.Image) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._size = canvas.size
        self._letters = font(text_size(canvas.height, canvas.width))
        self._pad = max(2, line_width(canvas.height, canvas.width))
        # Ascenders and descenders count for every text, so that all tags are equally high.
        _, self._low, _, high = self._draw.textbbox((0, 0), "Ag|", font=self._letters)
        self._tall = float(high - self._low + self._pad)
        self.taken: list[Rectangle] = []

    def size_of(self, text: str) -> tuple[float, float]:
        """Width and height of a text's tag in pixels."""
        return float(self._draw.textlength(_line(text), font=self._letters) + 2 * self._pad), self._tall

    def put(self, text: str, colour: Colour, places: Iterable[tuple[float, float]], *, always: bool) -> bool:
        """Draw a tag at the first place that is free; whether it was drawn.

        Args:
            text: written on one line.
            colour: of the ground; the letters are black or white.
            places: left and top of the tag, the best first; moved into the picture where they reach out of it.
            always: where no place is free, draw over other tags at the first, rather than not at all.
        """
        wide, tall = self.size_of(text)
        areas = [
            (x, y, x + wide, y + tall)
            for x, y in ((_within(x, wide, self._size[0]), _within(y, tall, self._size[1])) for x, y in places)
        ]
        free = next((area for area in areas if not any(_meet(area, other) for other in self.taken)), None)
        if free is None and not always:
            return False
        area = free or areas[0]
        self.taken.append(area)
        x, y = area[:2]
        self._draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour, outline=(0, 0, 0))
        self._draw.text((x + self._pad, y + self._pad // 2 - self._low), _line(text), ink_on(colour), self._letters)
        return True


def around(box: Rectangle, size: tuple[float, float]) -> list[tuple[float, float]]:
    """Places for a tag at a box: above it, in its corners, below it."""
    left, top, right, bottom = box
    wide, tall = size
    return [(left, top - tall), (left, top), (left, bottom), (right - wide, top - tall), (left, bottom - tall)]


def _line(text: str) -> str:
    return " ".join(text.split())


def _within(start: float, length: float, limit: int) -> float:
    return max(0.0, min(start, limit - length))


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
