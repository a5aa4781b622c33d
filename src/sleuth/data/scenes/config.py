"""What scenes look like: one frozen value, checked when it is made."""

from dataclasses import dataclass

from sleuth.errors import UserError


@dataclass(frozen=True)
class SceneConfig:
    """Size, number of objects and difficulty of the composed pictures.

    Args:
        size_hw: height and width of the picture in pixels.
        min_objects: fewest objects asked for; an object that finds no fair place is left out.
        max_objects: most objects in a picture.
        min_size: smallest object: the longer side of its unrotated ink, in pixels.
        max_size: largest object, in pixels; never more than three quarters of the picture's shorter side.
        rotation_degrees: objects turn by up to this angle either way; above 25, a 6 may pass for a 9.
        overlap: share of the objects that may lie on others, 0 to 1.
        min_visible: an object of which less than this share can be seen is placed elsewhere or left out.
        overhang: how far an object may reach over the picture's edge, as a share of its own extent.
        clutter: most distractors (strokes and blobs that are not objects) in a picture.
        max_regions: most background regions in a picture, 1 to 3.
        lanes: draw a road with two to four lane-like curves behind the objects.
    """

    size_hw: tuple[int, int] = (128, 128)
    min_objects: int = 1
    max_objects: int = 7
    min_size: int = 16
    max_size: int = 56
    rotation_degrees: int = 25
    overlap: float | int = 0.25
    min_visible: float | int = 0.5
    overhang: float | int = 0.12
    clutter: int = 4
    max_regions: int = 3
    lanes: bool = False

    def __post_init__(self) -> None:
        for field, low, high in (
            ("min_objects", 0, 100),
            ("max_objects", self.min_objects, 100),
            ("min_size", 6, 4096),
            ("max_size", self.min_size, 4096),
            ("rotation_degrees", 0, 180),
            ("overlap", 0.0, 1.0),
            ("min_visible", 0.05, 1.0),
            ("overhang", 0.0, 0.5),
            ("clutter", 0, 100),
            ("max_regions", 1, 3),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise UserError(f"{value} is not between {low} and {high}", where=f"scenes: {field}")
        if min(self.size_hw) < 16 or max(self.size_hw) > 4096:
            raise UserError(f"{self.size_hw} is not between 16 and 4096", where="scenes: size_hw")
