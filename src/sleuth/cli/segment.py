"""`sleuth predict` with a model that gives every pixel a class."""

from pathlib import Path
from typing import Any

from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.cli.drawing import few
from sleuth.cli.frames import readable
from sleuth.cli.semantic_words import ViewWords
from sleuth.runtime.segmented_files import SegmentedWriter
from sleuth.runtime.segmenter import load_segmenter
from sleuth.runtime.sources import expand_sources


def run_segment(
    sources: tuple[str, ...],
    model: str,
    *,
    views: ViewWords,
    out: Path | None,
    json: str | None,
    skip_faulty: bool,
    batch_size: int,
    device: str,
) -> None:
    """Write the classes of every picture's pixels as a drawing and as numbers, and print the share of each class.

    Args:
        sources: pictures, folders, globs or videos.
        model: a file or run folder.
        views: how each picture is looked at.
        out: folder for drawings, and for masks within it; None writes none.
        json: file for the shares; - prints them.
        skip_faulty: leave out what cannot be read.
        batch_size: windows at a time.
        device: where to compute.
    """
    look = views.views(batch_size)
    items = expand_sources(sources)
    predictor = load_segmenter(model, device)
    listed: list[dict[str, Any]] = []
    total = None if any(item.is_video for item in items) else len(items)
    writer = None if out is None else SegmentedWriter(out)
    with progress("looking", total) as advance:
        for number, found in enumerate(predictor.stream(readable(items, skip_faulty), look), start=1):
            if writer is not None:
                writer.add(found)
            if json is not None:
                listed.append(found.to_json())
            if json != "-":
                shares = few([f"{name} {share:.1%}" for name, share in found.shares.items()])
                print_text(f"{found.source}: {shares}")
            advance(number)
    if json is not None:
        write_json(listed, json)
    if writer is not None:
        what = "picture" if writer.count == 1 else "pictures"
        tell(f"{writer.count} {what} in {out}, with the classes as numbers in {writer.masks}")
