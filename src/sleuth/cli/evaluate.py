"""`sleuth evaluate`."""

from dataclasses import dataclass, replace
from pathlib import Path

from sleuth.cli.console import err, out, progress, write_json
from sleuth.data.open import available_splits, open_data
from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import DetectionEvaluation, evaluate_model, evaluate_result_files
from sleuth.evaluation.report import tables, write_report
from sleuth.runtime.predictor import find_device, load_weights

HELD_OUT_SCENES = 500


@dataclass(frozen=True)
class EvaluateWords:
    """What the command line said; see `sleuth evaluate --help`."""

    model: str | None
    data: str | None
    split: str | None
    format: str | None
    limit: int
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
    evaluation = _from_files(words) if words.ground_truth or words.predictions else _from_model(words)
    if words.json:
        write_json(evaluation.to_json(), "-")
    else:
        for table in tables(evaluation):
            out().print(table)
    if evaluation.unknown_class:
        err().print(f"{evaluation.unknown_class} predictions of classes that the data lacks were left out")
    if words.out is not None:
        written = write_report(evaluation, words.out)
        err().print(f"written to {words.out}: {', '.join(path.name for path in written)}", markup=False)


def _from_files(words: EvaluateWords) -> DetectionEvaluation:
    if words.ground_truth is None or words.predictions is None:
        raise UserError("a result file is scored with both --ground-truth and --predictions", mend="name both")
    if words.model or words.data or words.layers:
        raise UserError("--model, --data and --layers do not go with --ground-truth", mend="leave them out")
    return evaluate_result_files(words.ground_truth, words.predictions, threshold=words.threshold)


def _from_model(words: EvaluateWords) -> DetectionEvaluation:
    if words.model is None or words.data is None:
        raise UserError(
            "what to measure is not said", mend="give --model and --data, or --ground-truth and --predictions"
        )
    device = find_device(words.device)
    loaded = load_weights(words.model)
    source = held_out(words.data, words.split, words.format, words.limit)
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


def held_out(data: str, split: str | None, format: str | None, limit: int) -> SampleSource:
    """The pictures to measure on: the named split, or val, or the only one.

    Raises:
        UserError: there is no such data or split.
    """
    if limit < 0:
        raise UserError(f"{limit} pictures cannot be measured", where="--limit", mend="give 0 for all, or more")
    if data == "scenes":
        if split not in (None, "train", "val", "test"):
            raise UserError(f"scenes have no split {split!r}", where="--split", mend="use train, val or test")
        return SceneSource(split or "val", limit or HELD_OUT_SCENES)  # type: ignore[arg-type]
    path = Path(data)
    if split is None:
        splits = available_splits(path, format)
        # What a data set calls its validation split differs; the reader knows the usual names.
        split = splits[0] if len(splits) == 1 else "val"
    opened = open_data(path, format, split)
    return PictureSource(replace(opened, records=opened.records[:limit]) if limit else opened)
