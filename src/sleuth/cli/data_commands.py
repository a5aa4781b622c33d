"""The words of `sleuth data`."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    path: Annotated[
        Path, typer.Argument(help="A folder in COCO, VOC or YOLO form, of pictures and masks, or of text; or a file.")
    ],
    format: Annotated[str | None, typer.Option(help="coco, voc or yolo; found out if not named.")] = None,
    split: Annotated[str | None, typer.Option(help="One split; by default all of them.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, where it is elsewhere.")] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            help="What pictures come with: boxes, instances (masks too), panoptic (things and stuff), or semantic (a "
            "class for each pixel); boxes, if it is not plain."
        ),
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(help="Of masks of classes: values that mean nothing, such as 11, or 11,12.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Of text, from which to which, such as en-de.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write contact sheets of annotated pictures here.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read headers only; misses files that are cut short.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every fault, not the first ones of each kind.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a data set: every fault by kind, with file, id and mend. Exit code 1 if one would stop a training."""
    from sleuth.cli.data_check import run_check

    run_check(
        path,
        format,
        split,
        images,
        sheet,
        annotations=annotations,
        languages=languages,
        ignore=ignore,
        quick=quick,
        every=every,
        as_json=json,
    )


def scenes(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    count: Annotated[int, typer.Option(help="How many scenes.")] = 100,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    seed: Annotated[int, typer.Option(help="Another seed gives other scenes.")] = 0,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "128x128",
    annotations: Annotated[
        str,
        typer.Option(help="What is written: boxes, instances (masks too) or panoptic (its JSON and PNG files too)."),
    ] = "instances",
) -> None:
    """Write scenes of the built-in data as a COCO data set."""
    from sleuth.cli.data_scenes import run_scenes

    run_scenes(out, count, split, seed, size, annotations)
