"""`sleuth evaluate` of a model that gives every pixel a class."""

from sleuth.cli.console import progress
from sleuth.cli.drawing import write_picture
from sleuth.cli.evaluate_words import OF_CLASSES, OF_OBJECTS, OF_TEXT, EvaluateWords, refuse, show, tell_written
from sleuth.cli.semantic_pictures import pairs
from sleuth.cli.semantic_words import ViewWords, parse_ignored
from sleuth.cli.splits import usual_split
from sleuth.data.semantic.open import semantic_splits
from sleuth.data.semantic.scenes import SCENES
from sleuth.errors import UserError
from sleuth.evaluation.semantic import evaluate_segmenter, semantic_tables
from sleuth.evaluation.semantic_report import write_semantic_report
from sleuth.files import make_folder
from sleuth.runtime.devices import choose_device
from sleuth.training.semantic_work import open_semantic_source
from sleuth.weights.segmenter import open_segmenter

PICTURES = 6


_USELESS = (*(name for name in OF_OBJECTS if name != "annotations"), *OF_TEXT, *OF_CLASSES)
"""Words that pixel classes have no use for."""


def evaluate_pixel_classes(words: EvaluateWords) -> None:
    """Ask a model for the class of every pixel of a split, and print how often it is right.

    Values of masks that meant nothing when the model was trained mean nothing here, too.
    """
    refuse(words, _USELESS, "not of a model that gives every pixel a class, as this one does")
    assert words.model is not None
    data, ignored = words.data, parse_ignored(words.ignore)
    look = ViewWords(words.window, words.scales, words.flip).views(words.batch_size)
    if data is None:
        raise UserError("what to measure on is not said", mend="name pictures with masks with --data")
    if words.limit < 0:
        raise UserError(f"{words.limit} pictures cannot be measured", where="--limit", mend="give 0 for all, or more")
    loaded = open_segmenter(words.model)
    split = words.split or ("val" if data == SCENES else usual_split(semantic_splits(data)))
    source, _ = open_semantic_source(
        data,
        split,
        ignored=sorted({*loaded.ignored, *ignored}),
        names=loaded.names,
        limit=words.limit,
        skip_faulty=words.skip_faulty,
    )
    network = loaded.model.to(choose_device(words.device))
    with progress("measuring", len(source)) as advance:
        evaluation = evaluate_segmenter(network, source, loaded.preprocess, views=look, progress=advance)
    heading = f"{len(source):,} pictures of {data}, {split}\n"
    show(evaluation, heading, semantic_tables(evaluation), as_json=words.json)
    if words.out is not None:
        page = make_folder(words.out) / "pictures.png"
        cells = pairs(network, source, loaded.preprocess, count=PICTURES, views=look)
        write_picture(page, cells, heading="truth, and as found", columns=4, side=320)
        tell_written(words.out, [page, *write_semantic_report(evaluation, words.out, (page,))])
