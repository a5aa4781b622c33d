"""`sleuth predict`."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sleuth.cli.console import err, out, write_json
from sleuth.files import atomic_write, make_folder
from sleuth.runtime.detections import Detections
from sleuth.runtime.predictor import load
from sleuth.runtime.sources import VIDEO_SUFFIXES, video_rate


def run_predict(
    sources: list[str],
    model: str,
    threshold: float,
    folder: Path | None,
    json: str | None,
    batch_size: int,
    device: str,
) -> None:
    """Find objects, draw them, print them."""
    predictor = load(model, device=device)
    if folder is None and json is None:
        folder = Path("sleuth-found")
    if folder is not None:
        make_folder(folder)
    listed: list[dict[str, Any]] = []
    written: dict[Path, int] = {}
    objects = 0
    stream = predictor.stream(list(sources), threshold=threshold, batch_size=batch_size)
    for file, found in groupby(stream, key=lambda found: found.source.split("#")[0]):
        seen = _noted(found, listed if json is not None else None)
        if folder is None:
            objects += sum(len(one) for one in seen)
        else:
            target, count = _draw(Path(file), seen, folder, written)
            objects += count
            written[target] = count
    if json is not None:
        write_json(listed, json)
    if json != "-":
        for target, count in written.items():
            out().print(f"{target}  {count} found", markup=False)
    if not objects:
        err().print(f"nothing scored {threshold:g} or more; try a lower --threshold", markup=False)


def _noted(found: Iterator[Detections], listed: list[dict[str, Any]] | None) -> Iterator[Detections]:
    for one in found:
        if listed is not None:
            listed.append(one.to_json())
        yield one


def _draw(file: Path, found: Iterator[Detections], folder: Path, taken: dict[Path, int]) -> tuple[Path, int]:
    """Draw the picture or video of one file; returns where, and how many objects were found."""
    if file.suffix.lower() in VIDEO_SUFFIXES:
        return _draw_video(file, found, _free(folder / f"{file.stem}.mp4", taken))
    count, target = 0, _free(folder / f"{file.stem}.png", taken)
    for one in found:
        count += len(one)
        with atomic_write(target) as temporary:
            one.plot().save(temporary)
    return target, count


def _draw_video(file: Path, found: Iterator[Detections], target: Path) -> tuple[Path, int]:
    import av

    count = 0
    with atomic_write(target) as temporary, av.open(str(temporary), "w") as container:
        stream: Any = container.add_stream("libx264", rate=round(video_rate(file)))
        stream.pix_fmt = "yuv420p"
        for one in found:
            count += len(one)
            drawn = np.asarray(one.plot())
            # The codec wants even sides.
            drawn = np.ascontiguousarray(drawn[: drawn.shape[0] // 2 * 2, : drawn.shape[1] // 2 * 2])
            stream.height, stream.width = drawn.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode())
    return target, count


def _free(target: Path, taken: dict[Path, int]) -> Path:
    """A name that no other picture of this run has: folders may hold pictures of one name."""
    number = 2
    free = target
    while free in taken:
        free = target.with_stem(f"{target.stem}-{number}")
        number += 1
    return free
