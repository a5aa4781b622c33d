"""The commands: their words and what they mean. The work is done in modules imported when a command runs."""

from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[
    str,
    typer.Option("--model", "-m", help="A model's name, here or on the hub, its file or folder; see `sleuth models`."),
]
TileSize = Annotated[
    str | None,
    typer.Option("--tile", help="See large pictures in tiles too: pixels, such as 640 or 480x640 (height x width)."),
]
TileOverlap = Annotated[
    float | None, typer.Option("--tile-overlap", help="Share of a tile that its neighbour sees too; 0.2.")
]
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


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
    skip_faulty: Annotated[bool, typer.Option("--skip-faulty", help="Leave out what cannot be read.")] = False,
    batch_size: Annotated[int, typer.Option(help="Most pictures in one run of the model.")] = 1,
    device: DeviceName = "auto",
) -> None:
    """Find objects in pictures, folders, globs or videos.

    With a classifier, say what each picture shows.

    JSON is a list of {"image", "width", "height", "detections": [{"label", "category_id", "score", "bbox"}]}, where
    bbox is x, y, width, height in pixels of the original picture, the best first. Models with masks add
    "segmentation", COCO's compressed run lengths, to each; those that know stuff (sky, grass) add "segments":
    [{"id", "label", "category_id", "score", "is_thing", "area"}], and --panoptic writes the map that the ids are of.
    A classifier answers with {"image", "width", "height", "classes": [{"label", "class_id", "score"}]}.
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
        )
    )


def train(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe, a TOML file; or else --data.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="COCO, VOC or YOLO data, or scenes; folders of classes, or digits; pairs of sentences, or numbers."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A model to fine-tune, by name or file, or an architecture; or it is chosen."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Start the architecture of --model from these weights.")] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Of --model, take the architecture alone.")] = False,
    freeze: Annotated[
        str | None, typer.Option(help="Parts not to train, such as backbone,encoder; detector is all but masks.")
    ] = None,
    lora: Annotated[int | None, typer.Option(help="Train adapters of this rank beside frozen weights (LoRA).")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default a new one in runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it was stopped.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training on this machine, instead of epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a step, on each device.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    scale: Annotated[int | None, typer.Option(help="Shorter side of the pictures in pixels.")] = None,
    format: Annotated[str | None, typer.Option(help="coco, voc or yolo; found out if not named.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, where it is elsewhere.")] = None,
    annotations: Annotated[
        str | None, typer.Option(help="What to learn of the data: boxes; instances or panoptic, with masks.")
    ] = None,
    tile: TileSize = None,
    tile_overlap: TileOverlap = None,
    languages: Annotated[
        str | None, typer.Option(help="Of text: from which to which, such as en-de; where there is more than one way.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes that train together.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare data.")] = None,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out pictures that the checks find fault with.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard too.")] = False,
    set: Annotated[list[str] | None, typer.Option("--set", help="Override a value: section.key=value.")] = None,
) -> None:
    """Train by a recipe, or on a folder of pictures or of text.

    What is said here goes before what the recipe says, and --set before all. With --data and no --model, one of
    sleuth-n, -s, -m and -l is taken that suits the pictures and the machine, with a size, a length and all other
    settings; it says which and why, and how long it will take.
    """
    from sleuth.cli.train import run_train
    from sleuth.cli.train_words import TrainWords

    words = TrainWords(
        data=data,
        model=model,
        weights=weights,
        scratch=scratch,
        freeze=freeze,
        lora=lora,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        rate=rate,
        scale=scale,
        format=format,
        images=images,
        annotations=annotations,
        tile=tile,
        tile_overlap=tile_overlap,
        seed=seed,
        device=device,
        devices=devices,
        workers=workers,
        skip_faulty=skip_faulty,
        tensorboard=tensorboard,
        languages=languages,
        overrides=tuple(set or ()),
    )
    raise typer.Exit(run_train(recipe, words, out, resume=resume))


def translate(
    file: Annotated[
        Path | None, typer.Argument(help="A text file, a sentence a line; standard input if left out.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A translation model's file, run folder or folder, or one of the hub.")
    ] = "numbers",
    out: Annotated[Path | None, typer.Option(help="Write to this file rather than to standard output.")] = None,
    beam: Annotated[
        int | None, typer.Option(help="Beams of the search; 1 is greedy. By default the model's own.")
    ] = None,
    n_best: Annotated[int, typer.Option(help="Translations of each line, each with its score.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line: tokens and scores too.")] = False,
    align: Annotated[bool, typer.Option("--align", help="Say which word came from which, by attention.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for pictures of this: of the best translation of the first 10 lines.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write each word as soon as it is there.")] = False,
    score: Annotated[
        Path | None, typer.Option(help="Do not translate: the log-probability of these translations, a line each.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Put before each line, such as '>>fra<<'.")] = None,
    begin: Annotated[str | None, typer.Option(help="What every translation must begin with.")] = None,
    long: Annotated[
        str, typer.Option(help="Lines longer than the model's positions: refuse, or split into pieces.")
    ] = "refuse",
    length_penalty: Annotated[float | None, typer.Option(help="Above 0 favours long translations in a beam.")] = None,
    min_length: Annotated[int | None, typer.Option(help="The fewest tokens of a translation.")] = None,
    max_length: Annotated[int | None, typer.Option(help="The most tokens of a translation.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw words rather than take the best.")] = False,
    temperature: Annotated[float, typer.Option(help="Of drawing: below 1 bolder, above 1 wilder.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k best words.")] = None,
    top_p: Annotated[float, typer.Option(help="Draw from the fewest words that are this probable together.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of drawing.")] = 0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 makes words that are there less likely.")] = 1.0,
    no_repeat_ngram: Annotated[int, typer.Option(help="No run of so many words twice.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Most lines in one run of the model.")] = 64,
    runtime: Annotated[
        str, typer.Option(help="What runs the model: torch, or ctranslate2 if that package is installed.")
    ] = "torch",
    device: DeviceName = "auto",
) -> None:
    """Translate text, line for line.

    From a file or standard input to standard output or --out; an empty line stays empty. The bundled model, numbers,
    writes numbers out: '>>eng<< 42' in English, '>>zho<< 42' in Chinese, and '>>num<< forty-two' back in digits.
    With --n-best, each line of the result is a translation, a tab and its score; --align adds a tab and links of words
    as source-target, counted from 0.
    """
    from sleuth.cli.translate import TranslateWords, run_translate

    run_translate(
        TranslateWords(
            file=file,
            model=model,
            out=out,
            beam=beam,
            n_best=n_best,
            json=json,
            align=align,
            plot=plot,
            stream=stream,
            score=score,
            prefix=prefix,
            begin=begin,
            long=long,
            length_penalty=length_penalty,
            min_length=min_length,
            max_length=max_length,
            sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            repetition_penalty=repetition_penalty,
            no_repeat_ngram=no_repeat_ngram,
            batch_size=batch_size,
            runtime=runtime,
            device=device,
        )
    )


def merge(
    adapter: Annotated[Path, typer.Argument(help="A folder of adapters, such as RUN/best-adapter.")],
    out: Annotated[Path, typer.Option(help="The model file to write, a .safetensors file.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model they belong to; by default the one that they name.")
    ] = None,
) -> None:
    """Add LoRA adapters into the model that they were trained beside.

    The result is an ordinary model file, as the best.safetensors of their run.
    """
    from sleuth.cli.merge import run_merge

    run_merge(adapter, model, out)


def evaluate(
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name or .safetensors file.")] = None,
    data: Annotated[
        str | None, typer.Option(help="COCO, VOC or YOLO data, or scenes; of classifiers, folders of classes.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data; by default val or the only one.")] = None,
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
    classifier: top-1, top-5, each class, confusion matrix and calibration.
    """
    from sleuth.cli.evaluate import EvaluateWords, run_evaluate

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
            probe=probe,
        )
    )


def convert(
    model: Annotated[str, typer.Argument(help="A model's name, its file or its folder; see `sleuth models`.")],
    to: Annotated[
        str,
        typer.Option(
            help="Whose form: huggingface, original (facebookresearch/detr), ctranslate2 (of translators), "
            "timm (of classifiers) or sleuth."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="A new folder; for original, a .pth file; for sleuth, a .safetensors file.")
    ],
) -> None:
    """Write a model in the form of another library, or in this one's.

    Hugging Face's `from_pretrained` and the original's code load it and give the same outputs. A model that they
    cannot express is refused.
    """
    from sleuth.cli.convert import run_convert

    run_convert(model, to, out)


def trace(
    model: ModelName = "detr-r50",
    size: Annotated[
        str | None,
        typer.Option(
            help="Height x width of the picture; by default 800x600, or the one size that the model takes. Of text, "
            "source x target words; 12x10."
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A row for every encoder and decoder layer.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Print the shape of every tensor on the way, as it runs.

    With parameters and FLOPs of each part. An architecture without weights gets random ones: shapes are the same. Of a
    translation model: one training step, and each step of decoding with its cache.
    """
    from sleuth.cli.trace import run_trace

    run_trace(model, size, layers=layers, as_json=json)


def models(
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
    docs: Annotated[Path | None, typer.Option(help="Write a page about each model into this folder instead.")] = None,
) -> None:
    """List what can be loaded by name.

    Task, parameters, score, licence, origin, and whether the weights are on this machine.
    """
    from sleuth.cli.models import run_models

    run_models(as_json=json, docs=docs)
