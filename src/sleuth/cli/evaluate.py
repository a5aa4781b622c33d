"""`sleuth evaluate`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from sleuth.cli.console import out, print_text, progress, tell, write_json
from sleuth.data.checks import check_data
from sleuth.data.open import available_splits, open_data
from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.glyphs import Split
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import DetectionEvaluation, evaluate_model, evaluate_result_files
from sleuth.evaluation.report import tables, write_report
from sleuth.runtime.devices import choose_device
from sleuth.runtime.models import open_model

HELD_OUT_SCENES = 500
MOST_CLASSES = 30


@dataclass(frozen=True)
class EvaluateWords:
    """What the command line said; see `sleuth evaluate --help`."""

    model: str | None
    data: str | None
    split: str | None
    format: str | None
    images: Path | None
    limit: int
    skip_faulty: bool
    ground_truth: Path | None
    predictions: Path | None
    layers: bool
    threshold: float
    out: Path | None
    json: bool
    batch_size: int
    device: str


def run_evaluate(words: EvaluateWords) -> None:
    """Measure a model or a result file, print and write what came out."""
    if not 0 <= words.threshold <= 1:
        raise UserError(f"{words.threshold:g} is not between 0 and 1", where="--threshold", mend="such as 0.5")
    evaluation = _from_files(words) if words.ground_truth or words.predictions else _from_model(words)
    if evaluation.unknown_class:
        tell(f"left out {evaluation.unknown_class} predictions of classes that the data lacks")
    if evaluation.not_finite:
        tell(f"left out {evaluation.not_finite} predictions that are not finite")
    if words.json:
        write_json(evaluation.to_json(), "-")
    else:
        truth = evaluation.truth
        print_text(
            f"{len(truth.image_ids):,} pictures, {truth.num_objects:,} objects, "
            f"{len(evaluation.predictions):,} predictions\n"
        )
        for table in tables(evaluation, MOST_CLASSES):
            out().print(table)
    if words.out is not None:
        written = write_report(evaluation, words.out)
        tell(f"written to {words.out}: {', '.join(path.name for path in written)}")


def _from_files(words: EvaluateWords) -> DetectionEvaluation:
    if words.ground_truth is None or words.predictions is None:
        lacking = "--predictions" if words.predictions is None else "--ground-truth"
        raise UserError(f"{lacking} is missing", mend="a result file is scored with both")
    if words.model or words.data or words.layers:
        raise UserError("--model, --data and --layers do not go with --ground-truth", mend="leave them out")
    return evaluate_result_files(words.ground_truth, words.predictions, threshold=words.threshold)


def _from_model(words: EvaluateWords) -> DetectionEvaluation:
    if words.model is None or words.data is None:
        lacking = "--model" if words.model is None else "--data"
        raise UserError(f"{lacking} is missing", mend="give --model and --data, or --ground-truth and --predictions")
    device = choose_device(words.device)
    loaded = open_model(words.model)
    source = held_out(words)
    with progress("evaluating", len(source)) as advance:
        return evaluate_model(
            loaded.model,
            source,
            loaded.preprocess,
            device=device,
            batch_size=words.batch_size,
            layers=words.layers,
            model_names=loaded.card.names,
            threshold=words.threshold,
            progress=lambda done, _: advance(done),
        )


def held_out(words: EvaluateWords) -> SampleSource:
    """The pictures to measure on, checked: the named split, or the only one, or val.

    Raises:
        UserError: there is no such data or split, or it has errors.
    """
    assert words.data is not None
    if words.limit < 0:
        raise UserError(f"{words.limit} pictures cannot be measured", where="--limit", mend="give 0 for all, or more")
    if words.data == "scenes":
        if words.split not in (None, *get_args(Split)):
            mend = f"use {', '.join(get_args(Split))}"
            raise UserError(f"scenes have no split {words.split!r}", where="--split", mend=mend)
        return SceneSource(words.split or "val", words.limit or HELD_OUT_SCENES)  # type: ignore[arg-type]
    path, split = Path(words.data), words.split
    if split is None:
        splits = available_splits(path, words.format)
        # What a data set calls its validation split differs; the reader knows the usual names.
        split = splits[0] if len(splits) == 1 else "val"
    data = open_data(path, words.format, split, words.images)
    data = replace(data, records=data.records[: words.limit or None])
    report = check_data(data)
    if words.skip_faulty and report.errors:
        tell(f"left out {len(report.faulty_image_ids)} faulty pictures of {len(data)}")
        data = data.without_faulty(report)
        report = check_data(data)
    report.raise_if_fatal()
    return PictureSource(data)
