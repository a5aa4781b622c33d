"""`sleuth data scenes`."""

from pathlib import Path
from typing import get_args

from sleuth.cli.console import out, progress
from sleuth.cli.sizes import parse_size
from sleuth.data.scenes import SceneConfig
from sleuth.data.scenes.export import write_coco
from sleuth.data.scenes.glyphs import Split
from sleuth.errors import UserError


def run_scenes(folder: Path, count: int, split: str, seed: int, size: str, annotations: str) -> None:
    """Write scenes as a COCO data set."""
    if split not in get_args(Split):
        raise UserError(f"scenes have no split {split!r}", where="--split", mend=f"use {', '.join(get_args(Split))}")
    if count < 1:
        raise UserError(f"{count} scenes cannot be written", where="--count", mend="give at least 1")
    config = SceneConfig(size_hw=parse_size(size, least=16, most=4096))
    with progress("drawing", count) as advance:
        written = write_coco(folder, count, split, seed, config, advance, annotations)  # type: ignore[arg-type]
    files = f"{written.name} and images/"
    if annotations == "panoptic":
        files = f"{written.name}, images/, panoptic.json and panoptic/"
    out().print(f"{count} scenes in {folder}: {files}", markup=False)
