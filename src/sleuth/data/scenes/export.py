"""Writing scenes as a COCO data set."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32
from PIL import Image

from sleuth.data.scenes.backgrounds import STUFF
from sleuth.data.scenes.classes import NAMES, SUPERCATEGORIES
from sleuth.data.scenes.compose import tight_box
from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.glyphs import Split
from sleuth.data.scenes.scene import KEY_POINTS, Scene, SceneObject
from sleuth.data.scenes.source import SceneSource
from sleuth.errors import UserError
from sleuth.files import atomic_write, make_folder, user_errors_for
from sleuth.geometry.rle import ids_to_rgb


def write_coco(
    out: Path,
    count: int,
    split: Split = "train",
    seed: int = 0,
    config: SceneConfig | None = None,
    progress: Callable[[int], None] | None = None,
    annotations: str = "instances",
) -> Path:
    """Write scenes as ``images/000001.png`` and so on, and then ``annotations.json`` with boxes and masks.

    Args:
        out: a new or empty folder.
        count: how many scenes.
        split: train, val or test.
        seed: as in SceneSource.
        config: what the scenes look like; None for the usual.
        progress: called with the number of scenes written so far, after each.
        annotations: instances; panoptic writes ``panoptic/000001.png`` and so on and ``panoptic.json`` as well, in
            which the background is stuff, one segment a kind; boxes leaves out masks.

    Returns:
        The path of ``annotations.json``.

    Raises:
        UserError: the folder holds something already, or cannot be written.
    """
    source = SceneSource(split, count, seed, config or SceneConfig(), annotations)
    out = make_folder(Path(out))
    with user_errors_for(out):
        if any(out.iterdir()):
            raise UserError("the folder is not empty", where=out, mend="choose a new folder with --out")
    pictures: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    height, width = source.config.size_hw
    for index in range(count):
        scene = source.render(index)
        name = f"{index + 1:06d}.png"
        with atomic_write(out / "images" / name) as temporary:
            Image.fromarray(scene.image).save(temporary)
        pictures.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        objects += annotations_of(scene, image_id=index + 1, first_id=len(objects) + 1)
        if annotations == "panoptic":
            ids, listed = segments_of(scene)
            with atomic_write(out / "panoptic" / name) as temporary:
                Image.fromarray(ids_to_rgb(ids)).save(temporary, format="PNG")
            segments.append({"image_id": index + 1, "file_name": name, "segments_info": listed})
        if progress is not None:
            progress(index + 1)
    if annotations == "boxes":
        for entry in objects:
            del entry["segmentation"]
    info = {"description": f"Sleuth scenes, split {split}, seed {seed}", "version": "1"}
    things = [
        {"id": number, "name": name, "supercategory": group, "keypoints": list(KEY_POINTS), "skeleton": []}
        for number, (name, group) in enumerate(zip(NAMES, SUPERCATEGORIES, strict=True), start=1)
    ]
    if annotations == "panoptic":
        kinds = [
            {"id": number, "name": name, "supercategory": group, "isthing": int(thing)}
            for number, name, group, thing in zip(
                source.category_ids,
                source.names,
                SUPERCATEGORIES + ("background",) * len(STUFF),
                source.is_thing,
                strict=True,
            )
        ]
        page = {"info": info, "images": pictures, "annotations": segments, "categories": kinds}
        with atomic_write(out / "panoptic.json") as temporary:
            temporary.write_text(json.dumps(page), encoding="utf-8")
    answer = out / "annotations.json"
    with atomic_write(answer) as temporary:
        page = {"info": info, "images": pictures, "annotations": objects, "categories": things}
        temporary.write_text(json.dumps(page), encoding="utf-8")
    return answer


def segments_of(scene: Scene) -> tuple[Int32[np.ndarray, "height width"], list[dict[str, Any]]]:
    """The segment of each pixel with one segment for each kind of stuff, and COCO's list of the segments."""
    ids = scene.segments.copy()
    listed = [(thing.segment_id, thing.label) for thing in scene.objects]
    first: dict[int, int] = {}
    for region in scene.regions:
        kept = first.setdefault(region.label, region.segment_id)
        ids[ids == region.segment_id] = kept
    listed += [(id, len(NAMES) + label) for label, id in first.items()]
    segments = []
    for id, label in listed:
        mask = ids == id
        if mask.any():
            left, top, right, bottom = tight_box(mask)
            segments.append(
                {
                    "id": id,
                    "category_id": label + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(np.count_nonzero(mask)),
                    "iscrowd": 0,
                }
            )
    return ids, segments


def annotations_of(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """The objects of a scene as COCO annotations, with ids from ``first_id`` up."""
    return [_annotation(thing, image_id, first_id + number) for number, thing in enumerate(scene.objects)]


def _annotation(thing: SceneObject, image_id: int, annotation_id: int) -> dict[str, Any]:
    left, top, right, bottom = thing.box_xyxy_px
    height, width = thing.visible_mask.shape
    key_points: list[float] = []
    for (x, y), seen in zip(thing.key_points_xy_px.tolist(), thing.key_points_visible.tolist(), strict=True):
        inside = 0 <= x <= width and 0 <= y <= height
        key_points += [round(x, 2), round(y, 2), 2 if seen else 1] if inside else [0, 0, 0]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": thing.label + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": int(np.count_nonzero(thing.visible_mask)),
        "iscrowd": 0,
        "segmentation": run_lengths(thing.visible_mask),
        "keypoints": key_points,
        "num_keypoints": sum(1 for visibility in key_points[2::3] if visibility > 0),
        "phrase": thing.phrase,
    }


def run_lengths(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """A mask as COCO's uncompressed run-length code: lengths of runs down the columns, the first of them outside."""
    flat = mask.reshape(-1, order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
