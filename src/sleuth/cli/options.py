"""Options that several commands share."""

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
Window = Annotated[
    str | None,
    typer.Option(
        "--window", help="Of classes of pixels: look in overlapping windows of this side, or height x width, in pixels."
    ),
]
Scales = Annotated[
    str | None,
    typer.Option("--scales", help="Of classes of pixels: look at these sizes and average, such as 0.75,1,1.25."),
]
Flip = Annotated[bool, typer.Option("--flip", help="Of classes of pixels: look at the mirrored picture, too.")]
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
