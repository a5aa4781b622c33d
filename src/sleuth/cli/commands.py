"""The words of `sleuth demo`, `predict` and `evaluate`, for every kind of model. The work is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from sleuth.cli.options import DeviceName, Flip, ModelName, Scales, TileOverlap, TileSize, Window


def demo(
    what: Annotated[str, typer.Argument(help="What to show: detect, translate or classify.")] = "detect",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("sleuth-demo"),
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="By default the bundled one: sleuth-scenes, numbers or vit-digits."),
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(help="How many held-out scenes, numbers or digits are measured; by default 100, 400, all."),
    ] = None,
) -> None:
    """Show what a bundled model does, how, and how well: offline.

    It finds, traces, measures and draws on scenes that it has never seen. With `translate`, it writes numbers out in
    English and Chinese and back in digits, word by word, and draws what it looked at. With `classify`, it names
    handwritten digits and draws which patches it looked at. Each takes less than a minute.
    """
    from sleuth.cli.demos import show

    show(what, out, model, scenes)


def predict(
    sources: Annotated[list[str], typer.Argument(help="Pictures, folders, globs or videos.")],
    model: ModelName = "sleuth-scenes",
    threshold: Annotated[float, typer.Option(help="Least score to report, 0 to 1.")] = 0.5,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for annotated pictures and videos; sleuth-found, if nothing else is asked for."),
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write the detections as JSON to this file; - prints them.")] = None,
    panoptic: Annotated[
        Path | None,
        typer.Option(help="Folder for panoptic maps in COCO's form: panoptic.json, and panoptic/ with the PNG files."),
    ] = None,
    masks: Annotated[
        bool | None,
        typer.Option("--masks/--no-masks", help="With masks, or boxes only; by default masks if the model has them."),
    ] = None,
    panoptic_threshold: Annotated[
        float | None, typer.Option(help="Score above which an answer takes part in panoptic maps; the model's own.")
    ] = None,
    tile: TileSize = None,
    tile_overlap: TileOverlap = None,
    top: Annotated[int | None, typer.Option(help="Of a classifier: how many classes it names; 5.")] = None,
    window: Window = None,
    scales: Scales = None,
    flip: Flip = False,
    skip_faulty: Annotated[bool, typer.Option("--skip-faulty", help="Leave out what cannot be read.")] = False,
    batch_size: Annotated[int, typer.Option(help="Most pictures in one run of the model.")] = 1,
    device: DeviceName = "auto",
) -> None:
    """Find objects in pictures, folders, globs or videos.

    With a classifier, say what each picture shows; with a model of pixel classes, what each pixel shows.

    JSON is a list of {"image", "width", "height", "detections": [{"label", "category_id", "score", "bbox",
    "query"}]}, the best first; bbox is x, y, width, height in pixels of the original picture, query the number of the
    query that found it. Models with masks add "segmentation", COCO's compressed run lengths, to each; those that know
    stuff (sky, grass) add "segments": [{"id", "label", "category_id", "score", "is_thing", "area"}], and --panoptic
    writes the map that the ids are of. A classifier answers with {"image", "width", "height", "classes": [{"label",
    "class_id", "score"}]}, and a model of pixel classes with "pixels" and "share" in place of the score; into --out it
    draws them, and writes PNG files of class numbers, masks/.
    """
    from sleuth.cli.predict import PredictWords, run_predict

    run_predict(
        PredictWords(
            sources=tuple(sources),
            model=model,
            threshold=threshold,
            out=out,
            json=json,
            skip_faulty=skip_faulty,
            batch_size=batch_size,
            device=device,
            masks=masks,
            panoptic=panoptic,
            panoptic_threshold=panoptic_threshold,
            tile=tile,
            tile_overlap=tile_overlap,
            top=top,
            window=window,
            scales=scales,
            flip=flip,
        )
    )


def evaluate(
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name or .safetensors file.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="COCO, VOC or YOLO data, or scenes; folders of classes; pictures with masks of classes."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="By default val, or the only one; or held-out of that.")] = None,
    format: Annotated[str | None, typer.Option(help="coco, voc or yolo; found out if not named.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, where it is elsewhere.")] = None,
    limit: Annotated[int, typer.Option(help="Only the first so many pictures; 0 takes all.")] = 0,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out pictures that the checks find fault with.")
    ] = False,
    ground_truth: Annotated[Path | None, typer.Option(help="COCO annotations, to score a result file.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="COCO results to score against --ground-truth.")] = None,
    ground_truth_folder: Annotated[
        Path | None, typer.Option(help="PNG files of panoptic --ground-truth; by default the folder of its name.")
    ] = None,
    predictions_folder: Annotated[
        Path | None, typer.Option(help="PNG files of panoptic --predictions; by default the folder of its name.")
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="What to read of the data: boxes, instances or panoptic; by default what the model finds."),
    ] = None,
    panoptic: Annotated[
        bool, typer.Option("--panoptic", help="Measure panoptic quality even of data without stuff.")
    ] = False,
    max_detections: Annotated[int, typer.Option(help="Predictions that count in each picture, the best first.")] = 100,
    layers: Annotated[bool, typer.Option("--layers", help="AP of every decoder layer, with and without NMS.")] = False,
    threshold: Annotated[float, typer.Option(help="Least score in the confusion matrix.")] = 0.5,
    tile: TileSize = None,
    tile_overlap: TileOverlap = None,
    out: Annotated[Path | None, typer.Option(help="Folder for numbers, plots and predictions.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    batch_size: Annotated[int, typer.Option(help="Pictures in one run of the model.")] = 4,
    languages: Annotated[
        str | None, typer.Option(help="Of text: from which to which, such as en-de; where there is more than one way.")
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Of text: beams of the search; by default the model's own.")] = None,
    length_penalty: Annotated[
        float | None, typer.Option(help="Of text: above 0 favours long translations in a beam; by default the model's.")
    ] = None,
    window: Window = None,
    scales: Scales = None,
    flip: Flip = False,
    ignore: Annotated[
        str | None, typer.Option(help="Of masks of classes: values that mean nothing, such as 11, or 11,12.")
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(help="Of classes: knn or linear tells them apart by the model's features of the split train."),
    ] = None,
    device: DeviceName = "auto",
) -> None:
    """Measure a model on data, or any file of results.

    The twelve COCO numbers, AP of each class, confusion matrix and precision-recall curves; of masks too, and panoptic
    quality, where there are such. Give --model and --data, or --ground-truth and --predictions: COCO results of boxes
    or masks, or panoptic JSON files with their PNG files. Of a translation model: BLEU, chrF and exact match. Of a
    classifier: top-1, top-5, each class, confusion matrix and calibration. Of a model of pixel classes: mean IoU, pixel
    accuracy, each class, confusion matrix.
    """
    from sleuth.cli.evaluate import run_evaluate
    from sleuth.cli.evaluate_words import EvaluateWords

    run_evaluate(
        EvaluateWords(
            model=model,
            data=data,
            split=split,
            format=format,
            images=images,
            limit=limit,
            skip_faulty=skip_faulty,
            ground_truth=ground_truth,
            predictions=predictions,
            layers=layers,
            threshold=threshold,
            max_detections=max_detections,
            annotations=annotations,
            panoptic=panoptic,
            ground_truth_folder=ground_truth_folder,
            predictions_folder=predictions_folder,
            out=out,
            json=json,
            batch_size=batch_size,
            device=device,
            tile=tile,
            tile_overlap=tile_overlap,
            languages=languages,
            beam=beam,
            length_penalty=length_penalty,
            probe=probe,
            window=window,
            scales=scales,
            flip=flip,
            ignore=ignore,
        )
    )
