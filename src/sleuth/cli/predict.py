"""`sleuth predict`."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleuth.cli.classify import run_classify
from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.cli.drawing import few, told_segments
from sleuth.cli.frames import readable
from sleuth.cli.segment import run_segment
from sleuth.cli.semantic_words import ViewWords
from sleuth.cli.sizes import parse_tiling
from sleuth.errors import UserError
from sleuth.runtime.annotate import Annotator
from sleuth.runtime.detections import Detections
from sleuth.runtime.panoptic_files import INDEX, MAPS, PanopticWriter
from sleuth.runtime.predictor import Predictor, load_predictor
from sleuth.runtime.sources import Item, expand_sources
from sleuth.weights.classifiers import is_classifier
from sleuth.weights.segmenter import is_segmenter

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
    masks: bool | None
    panoptic: Path | None
    panoptic_threshold: float | None
    tile: str | None = None
    tile_overlap: float | None = None
    top: int | None = None
    window: str | None = None
    scales: str | None = None
    flip: bool = False


def run_predict(words: PredictWords) -> None:
    """Find objects, draw them, print them; or name what pictures or their pixels show."""
    if not 0 <= words.threshold <= 1:
        raise UserError(f"{words.threshold:g} is not between 0 and 1", where="--threshold", mend="such as 0.5")
    if words.batch_size < 1:
        raise UserError(f"{words.batch_size} is less than 1", where="--batch-size", mend="give 1 or more")
    if not 0 <= (words.panoptic_threshold or 0) <= 1:
        raise UserError(
            f"{words.panoptic_threshold:g} is not between 0 and 1", where="--panoptic-threshold", mend="such as 0.85"
        )
    views = ViewWords(words.window, words.scales, words.flip)
    if is_segmenter(words.model):
        _segment(words, views)
        return
    if is_classifier(words.model):
        views.refuse("and this one names pictures")
        _classify(words)
        return
    views.refuse("and this one finds objects")
    if words.top is not None:
        raise UserError("--top is of classifiers, and this model finds objects", mend="leave it out")
    tiling = parse_tiling(words.tile, words.tile_overlap)
    if tiling is not None and words.panoptic is not None:
        what = "tiles give boxes and masks, not panoptic maps"
        raise UserError(what, where="--tile", mend="leave out --tile or --panoptic")
    items = expand_sources(words.sources)
    predictor = load_predictor(words.model, words.device)
    _check_masks(words, predictor)
    nowhere = words.out is None and words.json is None and words.panoptic is None
    folder = DEFAULT_FOLDER if nowhere else words.out
    listed: list[dict[str, Any]] = []
    objects = 0
    with ExitStack() as stack, progress("looking", _count(items)) as advance:
        annotator = None if folder is None else stack.enter_context(Annotator(folder))
        maps = None if words.panoptic is None else stack.enter_context(PanopticWriter(words.panoptic, predictor.card))
        stream = predictor.stream(
            readable(items, words.skip_faulty),
            words.threshold,
            batch_size=words.batch_size,
            masks=words.masks,
            panoptic=_panoptic_wanted(words),
            panoptic_threshold=words.panoptic_threshold,
            tiling=tiling,
        )
        for number, found in enumerate(stream, start=1):
            objects += len(found)
            if annotator is not None:
                annotator.draw(found)
            if maps is not None:
                maps.add(found)
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
    if words.panoptic is not None:
        tell(f"panoptic maps in {words.panoptic}: {INDEX} and {MAPS}/")
    if not objects:
        tell(f"nothing scored {words.threshold:g} or more; try a lower --threshold, or another --model")


def _classify(words: PredictWords) -> None:
    """Name what pictures show, where the model is a classifier."""
    drawn = {"--out": words.out, "--masks": words.masks, "--panoptic": words.panoptic, "--tile": words.tile}
    for option, value in drawn.items():
        if value is not None:
            raise UserError(
                f"{option} is of a model that finds objects, and this one names pictures", mend="leave it out"
            )
    run_classify(
        words.sources,
        words.model,
        top=5 if words.top is None else words.top,
        json=words.json,
        skip_faulty=words.skip_faulty,
        batch_size=words.batch_size,
        device=words.device,
    )


def _segment(words: PredictWords, views: ViewWords) -> None:
    """Part pictures among classes, where the model gives every pixel one."""
    for option, value in {
        "--top": words.top,
        "--masks": words.masks,
        "--panoptic": words.panoptic,
        "--panoptic-threshold": words.panoptic_threshold,
        "--tile": words.tile,
    }.items():
        if value is not None:
            mend = "give --window" if option == "--tile" else "leave it out"
            raise UserError(f"{option} is not of a model that gives every pixel a class, as this one does", mend=mend)
    run_segment(
        words.sources,
        words.model,
        views=views,
        out=DEFAULT_FOLDER if words.out is None and words.json is None else words.out,
        json=words.json,
        skip_faulty=words.skip_faulty,
        batch_size=words.batch_size,
        device=words.device,
    )


def _check_masks(words: PredictWords, predictor: Predictor) -> None:
    """See that masks are asked only of a model that has them."""
    asked = {
        "--masks": words.masks,
        "--panoptic": words.panoptic is not None,
        "--panoptic-threshold": words.panoptic_threshold is not None,
    }
    for option, given in asked.items():
        if given and not predictor.has_masks:
            raise UserError(
                f"the model {words.model!r} has no mask head: it finds boxes only",
                where=option,
                mend="use a model for segmentation, or leave this option out",
            )


def _panoptic_wanted(words: PredictWords) -> bool | None:
    """Maps if they are to be written, not where only boxes are wanted, and else as is usual for the model."""
    if words.panoptic is not None:
        return True
    return False if words.masks is False else None


def _count(items: Sequence[Item]) -> int | None:
    """How many pictures there are, unless a video makes that unknown."""
    return None if any(item.is_video for item in items) else len(items)


def _line(found: Detections) -> str:
    """The best few objects of a picture and how many more there are; of a parted picture things, then stuff."""
    told = "; ".join(part for part in told_segments(found) if part) if found.segments else few(found.captions)
    return f"{found.source}: {told or 'nothing'}"
