"""`sleuth evaluate` of a detector, or of a file of results."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

from sleuth.cli.console import progress, tell
from sleuth.cli.evaluate_pictures import write_pictures
from sleuth.cli.evaluate_words import (
    MOST_CLASSES,
    OF_CLASSES,
    OF_PIXELS,
    OF_TEXT,
    EvaluateWords,
    refuse,
    show,
    tell_written,
)
from sleuth.cli.sizes import parse_tiling
from sleuth.cli.splits import has_learned_the_rest
from sleuth.data.checks import check_data
from sleuth.data.held_out import HELD_OUT_PART
from sleuth.data.open import available_splits, open_data
from sleuth.data.samples import SampleSource, check_annotations
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.glyphs import Split
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import DetectionEvaluation, evaluate_model, evaluate_result_files
from sleuth.evaluation.panoptic import PanopticScores
from sleuth.evaluation.panoptic_files import evaluate_panoptic_files, is_panoptic
from sleuth.evaluation.report import write_report
from sleuth.evaluation.tables import tables
from sleuth.geometry.tiles import Tiling
from sleuth.models.detector import has_masks
from sleuth.nn.folding import FoldedConvolutions
from sleuth.runtime.devices import choose_device
from sleuth.runtime.predictor import Predictor
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.resolve import open_model

HELD_OUT_SCENES = 500


def evaluate_detector(words: EvaluateWords) -> None:
    """Measure a detector or a result file, print and write what came out."""
    refuse(words, OF_PIXELS, "of a model that gives every pixel a class, and this one finds objects")
    refuse(words, OF_CLASSES, "of a model that names pictures, and this one finds objects")
    refuse(words, OF_TEXT, "of a model that translates, and this one finds objects")
    if not 0 <= words.threshold <= 1:
        raise UserError(f"{words.threshold:g} is not between 0 and 1", where="--threshold", mend="such as 0.5")
    if words.max_detections < 10:
        what = f"{words.max_detections} detections a picture are too few"
        raise UserError(what, where="--max-detections", mend="choose 10 or more")
    evaluation, pictures = _from_files(words) if words.ground_truth or words.predictions else _from_model(words)
    if isinstance(evaluation, DetectionEvaluation):
        _tell_what_is_left_out(evaluation)
    show(evaluation, _heading(evaluation), tables(evaluation, MOST_CLASSES), as_json=words.json)
    if words.out is not None:
        tell_written(words.out, [*write_report(evaluation, words.out, pictures=pictures), *pictures])


def _heading(evaluation: DetectionEvaluation | PanopticScores) -> str:
    if isinstance(evaluation, PanopticScores):
        segments = sum(entry.segments for entry in evaluation.per_class)
        return f"{evaluation.pictures:,} pictures, {segments:,} segments\n"
    truth, most = evaluation.truth, evaluation.scores.max_detections
    sizes = ", ".join(f"{count:,} {size}" for size, count in truth.objects_per_size().items())
    return (
        f"{len(truth.image_ids):,} pictures, {truth.num_objects:,} objects ({sizes}), "
        f"{len(evaluation.predictions):,} predictions; at most {most} predictions a picture count\n"
    )


def _tell_what_is_left_out(evaluation: DetectionEvaluation) -> None:
    if evaluation.unknown_class:
        tell(f"left out {evaluation.unknown_class} predictions of classes that the data lacks")
    if evaluation.not_finite:
        tell(f"left out {evaluation.not_finite} predictions that are not finite")


def _from_files(words: EvaluateWords) -> tuple[DetectionEvaluation | PanopticScores, list[Path]]:
    if words.ground_truth is None or words.predictions is None:
        lacking = "--predictions" if words.predictions is None else "--ground-truth"
        raise UserError(f"{lacking} is missing", mend="a result file is scored with both")
    if words.model or words.data or words.layers:
        raise UserError("--model, --data and --layers do not go with --ground-truth", mend="leave them out")
    if words.tile:
        raise UserError("--tile goes with --model", mend="leave it out: a result file is scored as it is")
    if words.annotations or words.panoptic:
        mend = "leave it out: the files themselves tell what they hold"
        raise UserError("--annotations and --panoptic go with --model", mend=mend)
    folders = words.ground_truth_folder, words.predictions_folder
    if is_panoptic(words.ground_truth):
        return evaluate_panoptic_files(words.ground_truth, folders[0], words.predictions, folders[1]), []
    if any(folders):
        what = "folders of PNG files go with panoptic files only"
        raise UserError(what, where=words.ground_truth, mend="leave them out, or name the panoptic JSON file")
    return (
        evaluate_result_files(
            words.ground_truth,
            words.predictions,
            threshold=words.threshold,
            max_detections=words.max_detections,
        ),
        [],
    )


def _from_model(words: EvaluateWords) -> tuple[DetectionEvaluation, list[Path]]:
    if words.model is None or words.data is None:
        lacking = "--model" if words.model is None else "--data"
        raise UserError(f"{lacking} is missing", mend="give --model and --data, or --ground-truth and --predictions")
    if words.ground_truth_folder or words.predictions_folder:
        raise UserError("folders of PNG files go with --ground-truth and --predictions", mend="leave them out")
    tiling = _tiling(words)
    device = choose_device(words.device)
    loaded = open_model(words.model)
    usual = annotations_for(loaded) if tiling is None else "boxes"
    source = held_out(words, words.annotations or usual)
    model = loaded.model.to(device).eval()
    with progress("evaluating", len(source)) as advance, FoldedConvolutions(model):
        evaluation = evaluate_model(
            model,
            source,
            loaded.preprocess,
            device=device,
            batch_size=words.batch_size,
            layers=words.layers,
            panoptic=words.panoptic or None,
            model_names=loaded.card.names,
            threshold=words.threshold,
            max_detections=words.max_detections,
            panoptic_rule=loaded.panoptic_rule,
            tiling=tiling,
            progress=lambda done, _: advance(done),
        )
    if words.out is None or not len(source):
        return evaluation, []
    page = write_pictures(
        words.out / "pictures.png",
        Predictor(loaded, device=device),
        source,
        threshold=words.threshold,
        masks=evaluation.masks is not None,
        panoptic=evaluation.panoptic is not None,
        tiling=tiling,
    )
    return evaluation, [page]


def _tiling(words: EvaluateWords) -> Tiling | None:
    """How pictures are cut, if they are; only boxes are measured then."""
    tiling = parse_tiling(words.tile, words.tile_overlap)
    for option, given in (
        ("--layers", words.layers),
        ("--panoptic", words.panoptic),
        (f"--annotations {words.annotations}", words.annotations not in (None, "boxes")),
    ):
        if tiling is not None and given:
            raise UserError(f"tiles give boxes of the last layer, {option} asks for more", mend="leave one of them out")
    return tiling


def annotations_for(loaded: LoadedModel) -> str:
    """What a model is measured on: boxes; masks, if it has them; or things and stuff, if it knows stuff."""
    if not has_masks(loaded.config):
        return "boxes"
    return "instances" if all(loaded.card.is_thing) else "panoptic"


def held_out(words: EvaluateWords, annotations: str = "boxes") -> SampleSource:
    """The pictures to measure on, checked: the named split, or the only one, or val.

    Args:
        words: what the command line said.
        annotations: boxes, instances or panoptic.

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
        return SceneSource(
            words.split or "val",  # type: ignore[arg-type]
            words.limit or HELD_OUT_SCENES,
            annotations=check_annotations(annotations),
        )
    path, split = Path(words.data), words.split
    if split is None:
        splits = available_splits(path, words.format, annotations)
        # What a data set calls its validation split differs; the reader knows the usual names.
        split = splits[0] if len(splits) == 1 else "val"
        if len(splits) == 1 and has_learned_the_rest(words.model, path):
            split = HELD_OUT_PART
            tell(f"measured on the fifth that the model has not learned from: --split {HELD_OUT_PART}")
    data = open_data(path, words.format, split, words.images, annotations)
    data = replace(data, records=data.records[: words.limit or None])
    report = check_data(data)
    if words.skip_faulty and report.errors:
        tell(f"left out {len(report.faulty_image_ids)} faulty pictures of {len(data)}")
        data = data.without_faulty(report)
        report = check_data(data)
    report.raise_if_fatal()
    return PictureSource(data)
