"""A phrase for each object: what a person would call it so that another finds it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Described:
    """What a phrase needs to know of an object.

    Args:
        name: name of its class.
        colour_name: name of its colour.
        size: how large it is between the smallest (0) and the largest (1) of its kind of scene.
        x: centre of its visible part across the picture, 0 to 1.
        y: centre of its visible part down the picture, 0 to 1.
    """

    name: str
    colour_name: str
    size: float | int
    x: float | int
    y: float | int


def phrase(thing: Described) -> str:
    """Size, colour, class and place, as in "the small red circle at the top left"."""
    size = "small " if thing.size < 0.33 else "large " if thing.size > 0.67 else ""
    place = _PLACES[min(2, int(thing.y * 3))][min(2, int(thing.x * 3))]
    return f"the {size}{thing.colour_name} {thing.name} {place}"


def phrases(things: Sequence[Described]) -> list[str]:
    """A phrase for each object; those that would be called the same are counted from the left."""
    plain = [phrase(thing) for thing in things]
    shared = Counter(plain)
    order = sorted(range(len(things)), key=lambda number: (things[number].x, number))
    answer = list(plain)
    seen: Counter[str] = Counter()
    for number in order:
        text = plain[number]
        if shared[text] > 1:
            place = _ORDINALS[seen[text]] if seen[text] < len(_ORDINALS) else f"{seen[text] + 1}th"
            answer[number] = f"{text}, {place} from the left"
            seen[text] += 1
    return answer
