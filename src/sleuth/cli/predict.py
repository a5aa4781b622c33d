"""`sleuth predict`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.errors import UserError
from sleuth.runtime.annotate import Annotator
from sleuth.runtime.detections import Detections
from sleuth.runtime.predictor import load
from sleuth.runtime.sources import Frame, Item, expand_sources

_TOLD = 8
DEFAULT_FOLDER = Path("sleuth-found")


@dataclass(frozen=True)
class PredictWords:
    """What the command line said; see `sleuth predict --help`."""

    sources: tuple[str, ...]
    model: str
    threshold: float
    out: Path | None
    json: str | None
    skip_faulty: bool
    batch_size: int
    device: str


def run_predict(words: PredictWords) -> None:
    """Find objects, draw them, print them."""
    if not 0 <= words.threshold <= 1:
        raise UserError(f"{words.threshold:g} is not between 0 and 1", where="--threshold", mend="such as 0.5")
    if words.batch_size < 1:
        raise UserError(f"{words.batch_size} is less than 1", where="--batch-size", mend="give 1 or more")
    items = expand_sources(words.sources)
    predictor = load(words.model, words.device)
    folder = DEFAULT_FOLDER if words.out is None and words.json is None else words.out
    listed: list[dict[str, Any]] = []
    objects = 0
    with ExitStack() as stack, progress("looking", _count(items)) as advance:
        annotator = None if folder is None else stack.enter_context(Annotator(folder))
        frames = _readable(items, words.skip_faulty)
        stream = predictor.stream(frames, words.threshold, batch_size=words.batch_size)
        for number, found in enumerate(stream, start=1):
            objects += len(found)
            if annotator is not None:
                annotator.draw(found)
            if words.json is not None:
                listed.append(found.to_json())
            if words.json != "-":
                print_text(_line(found))
            advance(number)
    if words.json is not None:
        write_json(listed, words.json)
    if annotator is not None:
        count = len(annotator.written)
        tell(f"{count} annotated file{'' if count == 1 else 's'} in {folder}")
    if not objects:
        tell(f"nothing scored {words.threshold:g} or more; try a lower --threshold, or another --model")


def _readable(items: Sequence[Item], skip_faulty: bool) -> Iterator[Frame]:
    """The pictures of all items; one that cannot be read ends the run, or is named and left out."""
    for item in items:
        try:
            yield from item.frames()
        except UserError as error:
            if not skip_faulty:
                raise UserError(error.what, where=error.where, mend=f"{error.mend}; or give --skip-faulty") from error
            tell(f"left out: {error.line()}")


def _count(items: Sequence[Item]) -> int | None:
    """How many pictures there are, unless a video makes that unknown."""
    return None if any(item.is_video for item in items) else len(items)


def _line(found: Detections) -> str:
    """The best few objects of a picture, and how many more there are."""
    told = list(found.captions[:_TOLD])
    if len(found) > _TOLD:
        told[-1] += f" and {len(found) - _TOLD} more"
    return f"{found.source}: {', '.join(told) or 'nothing'}"
