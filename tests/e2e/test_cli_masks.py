"""`sleuth predict` with models that have a mask head: RLE, panoptic folders, pictures with a legend."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco
from PIL import Image

import sleuth
from sleuth.evaluation.panoptic_files import evaluate_panoptic_files
from sleuth.geometry.rle import mask_from_coco, rgb_to_ids
from sleuth.models.detr import Detr
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import load_model, save_model

NAMES = ("cat", "dog", "sky", "grass")
IDS = (17, 18, 187, 193)
IS_THING = (True, True, False, False)
SIZES = {"a": (40, 60), "b": (60, 40), "c": (40, 60), "d": (90, 91)}


@torch.no_grad()
def vary(model: Detr) -> None:
    """Fresh weights answer all alike: give every query its own class and its own mask."""
    model.queries.weight.mul_(4)
    for layer in model.decoder.layers:
        layer.cross_attention.q_proj.weight.mul_(4)
        layer.self_attention.q_proj.weight.mul_(4)
        layer.self_attention.v_proj.weight.mul_(4)
    model.mask_head.attention.q_proj.weight.mul_(8)
    model.mask_head.convs[0].weight[:, 32:].mul_(40)
    pixels = torch.randn(8, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    images = ImageBatch(pixels, torch.ones(8, 64, 64, dtype=torch.bool))
    model.class_head.bias.copy_(-model(images).logits[-1].mean((0, 1)))


@pytest.fixture(scope="module")
def models(make_model, tmp_path_factory) -> dict[str, Path]:
    """Untrained models: of boxes, of masks of things, and one that knows stuff too."""
    folder = tmp_path_factory.mktemp("models")
    plain = make_model(
        folder / "plain.safetensors", names=NAMES, category_ids=IDS, masks=True, backbone_stages=4, dim=32
    )
    loaded = load_model(plain)
    vary(loaded.model)
    save_model(folder / "things.safetensors", loaded.model, loaded.card)
    save_model(folder / "panoptic.safetensors", loaded.model, replace(loaded.card, is_thing=IS_THING))
    boxes = make_model(folder / "boxes.safetensors", names=NAMES, category_ids=IDS)
    return {"boxes": boxes, **{name: folder / f"{name}.safetensors" for name in ("things", "panoptic")}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(6)
    for name, (height, width) in SIZES.items():
        pixels = np.kron(rng.integers(0, 256, (10, 10, 3)), np.ones((10, 10, 1)))[:height, :width]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def test_json_holds_a_mask_for_each_object(pictures: Path, models, cli):
    said = cli("predict", pictures, "--model", models["things"], "--threshold", "0.4", "--json", "-")
    assert said.code == 0, said.err
    found = sleuth.load(models["things"]).predict(pictures, 0.4)
    assert sum(map(len, found)) > 4
    for entry, each in zip(said.json, found, strict=True):
        assert set(entry) == {"image", "width", "height", "detections"}
        assert len(entry["detections"]) == len(each)
        for detection, mask in zip(entry["detections"], each.masks.numpy(), strict=True):
            assert set(detection) == {"label", "category_id", "score", "bbox", "segmentation", "query"}
            assert detection["segmentation"]["size"] == [entry["height"], entry["width"]]
            assert np.array_equal(mask_from_coco(detection["segmentation"]), mask)


def test_json_of_a_panoptic_model_lists_segments(pictures: Path, models, cli):
    words = ["predict", pictures, "--model", models["panoptic"], "--panoptic-threshold", "0.3", "--json", "-"]
    entries = cli(*words).json
    assert {each["is_thing"] for entry in entries for each in entry["segments"]} == {True, False}
    for entry in entries:
        assert sum(each["area"] for each in entry["segments"]) == entry["width"] * entry["height"]
        for each in entry["segments"]:
            place = NAMES.index(each["label"])
            assert (each["category_id"], each["is_thing"]) == (IDS[place], IS_THING[place])
    boxes = cli(*words, "--no-masks").json
    assert all("segments" not in entry for entry in boxes)
    assert all("segmentation" not in found for entry in boxes for found in entry["detections"])
    for entry, plain in zip(entries, boxes, strict=True):
        bare = [{key: found[key] for key in found if key != "segmentation"} for found in entry["detections"]]
        assert bare == plain["detections"]


def test_what_else_is_in_the_run_changes_nothing(pictures: Path, models, cli):
    words = ["--model", models["panoptic"], "--threshold", "0", "--panoptic-threshold", "0.3", "--json", "-"]
    for entry in cli("predict", pictures, *words, "--batch-size", "4").json:
        (alone,) = cli("predict", entry["image"], *words).json
        assert [each["label"] for each in alone["segments"]] == [each["label"] for each in entry["segments"]]
        pairs = zip(alone["detections"], entry["detections"], strict=True)
        assert all(one["label"] == other["label"] for one, other in pairs)
        for one, other in zip(alone["detections"], entry["detections"], strict=True):
            masks = [mask_from_coco(each["segmentation"]) for each in (one, other)]
            assert (masks[0] != masks[1]).mean() < 0.002


def test_a_panoptic_folder_is_as_coco_has_it(pictures: Path, models, cli, tmp_path: Path):
    folder = tmp_path / "maps"
    words = ["predict", pictures, "--model", models["panoptic"], "--panoptic-threshold", "0.3"]
    said = cli(*words, "--panoptic", folder)
    assert said.code == 0, said.err
    assert str(folder) in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps"], "no pictures were asked for"
    assert sorted(path.name for path in folder.iterdir()) == ["panoptic", "panoptic.json"]
    page = json.loads((folder / "panoptic.json").read_text())
    assert page["categories"] == [
        {"id": number, "name": name, "isthing": int(thing)}
        for number, name, thing in zip(IDS, NAMES, IS_THING, strict=True)
    ]
    assert [entry["id"] for entry in page["images"]] == [entry["image_id"] for entry in page["annotations"]]
    listed = cli(*words, "--json", "-").json
    for image, annotation, entry in zip(page["images"], page["annotations"], listed, strict=True):
        assert image["file_name"] == entry["image"]
        with Image.open(folder / "panoptic" / annotation["file_name"]) as picture:
            assert picture.mode == "RGB"
            assert picture.size == (image["width"], image["height"])
            ids = rgb_to_ids(np.asarray(picture))
        segments = annotation["segments_info"]
        assert set(np.unique(ids).tolist()) - {0} == {each["id"] for each in segments}
        for each, told in zip(segments, entry["segments"], strict=True):
            mask = ids == each["id"]
            assert each["area"] == told["area"] == mask.sum()
            assert each["category_id"] == told["category_id"]
            assert each["bbox"] == coco.toBbox(coco.encode(np.asfortranarray(mask.astype(np.uint8)))).tolist()
    scores = evaluate_panoptic_files(folder / "panoptic.json", None, folder / "panoptic.json", None)
    assert scores.all.pq == pytest.approx(1.0), "measured against itself"


def test_things_alone_make_a_map_if_asked(pictures: Path, models, cli, tmp_path: Path):
    words = ["predict", pictures / "a.png", "--model", models["things"], "--panoptic-threshold", "0.3"]
    assert cli(*words, "--panoptic", tmp_path / "maps", "--no-masks", "--json", "-").code == 0
    page = json.loads((tmp_path / "maps" / "panoptic.json").read_text())
    assert all(each["isthing"] == 1 for each in page["categories"])
    assert page["annotations"][0]["segments_info"]


def test_pictures_are_coloured_and_have_a_legend(pictures: Path, models, cli, size_of, tmp_path: Path):
    words = ["predict", pictures / "d.png", "--threshold", "0.3", "--panoptic-threshold", "0.3"]
    for name in ("things", "panoptic"):
        said = cli(*words, "--model", models[name], "--out", tmp_path / name)
        assert said.code == 0, said.err
        width, height = size_of(tmp_path / name / "d.png")
        assert width == 91 * 4
        assert 90 * 4 + 10 < height < 90 * 4 + 120
    assert "%" in said.out, "stuff is told with its share"
    assert cli(*words, "--model", models["panoptic"], "--no-masks", "--out", tmp_path / "boxes").code == 0
    assert size_of(tmp_path / "boxes" / "d.png") == (91 * 4, 90 * 4)


def test_videos_of_masks(models, cli, tmp_path: Path):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            pixels = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    words = ["predict", tmp_path / "clip.mp4", "--model", models["panoptic"], "--panoptic-threshold", "0.3"]
    said = cli(*words, "--out", tmp_path / "out", "--panoptic", tmp_path / "maps")
    assert said.code == 0, said.err
    with av.open(str(tmp_path / "out" / "clip.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3, "a legend would not fit"
    names = sorted(path.name for path in (tmp_path / "maps" / "panoptic").iterdir())
    assert names == ["clip-000000.png", "clip-000001.png", "clip-000002.png"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--model {boxes} --masks", "--masks: the model '{boxes}' has no mask head"),
        ("--model {boxes} --panoptic maps", "--panoptic: the model '{boxes}' has no mask head"),
        ("--model {boxes} --panoptic-threshold 0.5", "--panoptic-threshold: the model '{boxes}' has no mask head"),
        ("--model {panoptic} --panoptic-threshold 1.5", "--panoptic-threshold: 1.5 is not between 0 and 1"),
        ("--model {panoptic} --panoptic-threshold nan", "--panoptic-threshold: nan is not between 0 and 1"),
        ("--model {panoptic} --panoptic {panoptic}", "a part of the path is a file"),
    ],
)
def test_bad_input_ends_in_one_line(words: str, what: str, pictures: Path, models, cli, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cli("predict", pictures / "a.png", *(word.format(**models) for word in words.split()))
    assert said.code == 2
    assert what.format(**models) in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
