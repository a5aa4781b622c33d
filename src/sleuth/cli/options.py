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
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
