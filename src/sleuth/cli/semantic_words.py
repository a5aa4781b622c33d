"""The words by which commands say how pictures are looked at for the classes of their pixels, and what masks mean."""

from dataclasses import dataclass

from sleuth.cli.sizes import parse_side
from sleuth.errors import UserError
from sleuth.geometry.tiles import Tiling
from sleuth.tasks.semantic_views import Views

USUAL_OVERLAP = 1 / 3


@dataclass(frozen=True)
class ViewWords:
    """What the command line said of views. None was not said.

    Args:
        window: side of the windows in pixels of the model's input, or height x width.
        scales: sizes to look at, parted by commas.
        flip: look at the mirrored picture, too.
    """

    window: str | None = None
    scales: str | None = None
    flip: bool = False

    def refuse(self, why: str) -> None:
        """Refuse these words where the model has no use for them.

        Raises:
            UserError: one of them was said.
        """
        for option, value in (("--window", self.window), ("--scales", self.scales), ("--flip", self.flip or None)):
            if value is not None:
                raise UserError(f"{option} is of a model that gives every pixel a class, {why}", mend="leave it out")

    def views(self, batch_size: int = 8) -> Views:
        """How pictures are looked at.

        Raises:
            UserError: not a size, or not numbers between commas.
        """
        window = None if self.window is None else Tiling(parse_side(self.window, "--window"), USUAL_OVERLAP)
        scales: tuple[float, ...] = (1.0,)
        if self.scales is not None:
            try:
                scales = tuple(float(word) for word in self.scales.split(",") if word.strip())
            except ValueError:
                what = f"{self.scales!r} are not numbers between commas"
                raise UserError(what, where="--scales", mend="such as 0.75,1,1.25") from None
        return Views(window, scales, self.flip, batch_size)


def parse_ignored(text: str | None) -> tuple[int, ...]:
    """Values of masks from numbers between commas.

    Raises:
        UserError: no such numbers.

    >>> parse_ignored("11, 12")
    (11, 12)
    """
    words = [] if text is None else [word.strip() for word in text.split(",") if word.strip()]
    if any(not word.isdecimal() or int(word) > 65535 for word in words):
        raise UserError(f"{text!r} are no values of masks", where="--ignore", mend="give numbers, such as 11, or 11,12")
    return tuple(map(int, words))
