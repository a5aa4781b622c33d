"""`sleuth evaluate` of a model that gives every pixel a class."""

from collections.abc import Sequence
from pathlib import Path

from sleuth.cli.console import out as console
from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.cli.drawing import write_picture
from sleuth.cli.semantic_pictures import pairs
from sleuth.cli.semantic_words import ViewWords
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


def run_evaluate_semantic(
    model: str,
    data: str | None,
    split: str | None,
    *,
    ignored: Sequence[int],
    views: ViewWords,
    limit: int,
    skip_faulty: bool,
    batch_size: int,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Ask a model for the class of every pixel of a split, and print how often it is right.

    Values of masks that meant nothing when the model was trained mean nothing here, too.
    """
    look = views.views(batch_size)
    if data is None:
        raise UserError("what to measure on is not said", mend="name pictures with masks with --data")
    if limit < 0:
        raise UserError(f"{limit} pictures cannot be measured", where="--limit", mend="give 0 for all, or more")
    loaded = open_segmenter(model)
    split = split or usual_split(data)
    source, _ = open_semantic_source(
        data,
        split,
        ignored=sorted({*loaded.ignored, *ignored}),
        names=loaded.names,
        limit=limit,
        skip_faulty=skip_faulty,
    )
    network = loaded.model.to(choose_device(device))
    with progress("measuring", len(source)) as advance:
        evaluation = evaluate_segmenter(network, source, loaded.preprocess, views=look, progress=advance)
    if as_json:
        write_json(evaluation.to_json(), "-")
    else:
        print_text(f"{len(source):,} pictures of {data}, {split}\n")
        for table in semantic_tables(evaluation):
            console().print(table)
    if out is not None:
        page = make_folder(out) / "pictures.png"
        cells = pairs(network, source, loaded.preprocess, count=PICTURES, views=look)
        write_picture(page, cells, heading="truth, and as found", columns=4, side=320)
        written = write_semantic_report(evaluation, out, (page,))
        tell(f"written to {out}: {', '.join(path.name for path in [page, *written])}")


def usual_split(data: str) -> str:
    """The split to measure on where nobody says which: val, or test, or the only one."""
    if data == SCENES:
        return "val"
    known = semantic_splits(data)
    wanted = [name for word in ("val", "dev", "test") for name in known if name.lower().startswith(word)]
    return wanted[0] if wanted else known[0]
