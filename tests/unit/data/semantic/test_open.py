"""Pictures with masks as people keep them: layouts, splits, and whatever is wrong with them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.data.semantic.checks import check_semantic, check_semantic_folder, without_faulty
from sleuth.data.semantic.layout import semantic_parts
from sleuth.data.semantic.open import is_semantic, open_semantic, semantic_splits
from sleuth.data.semantic.samples import first_pictures, relabelled
from sleuth.data.semantic.scenes import SemanticScenes
from sleuth.errors import UserError

LAYOUTS = [
    (("train/images/a.jpg", "train/masks/a.png", "val/images/b.jpg", "val/masks/b.png"), ("train", "val")),
    (("images/train/a.jpg", "annotations/train/a.png", "images/val/b.jpg", "annotations/val/b.png"), ("train", "val")),
    (("train/a.png", "trainannot/a.png", "val/b.png", "valannot/b.png"), ("train", "val")),
    (("train/a.png", "train_labels/a_L.png", "test/b.png", "test_labels/b_L.png"), ("train", "test")),
    (("camvid/images/a.png", "camvid/labels/a.png"), ("",)),
    (("JPEGImages/a.jpg", "SegmentationClass/a.png"), ("",)),
    (("img/city/a.jpg", "gt/city/a_mask.png"), ("",)),
]


def write(root: Path, name: str, pixels: object, mode: str = "L") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, dtype=np.uint8)).convert(mode).save(root / name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two splits of pictures of 6 x 8 pixels: the left half is of class 0, the right half of class 1 or 2."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            write(tmp_path, f"{split}/images/{number}.png", np.full((6, 8, 3), 40 * number), "RGB")
            write(tmp_path, f"{split}/masks/{number}.png", np.repeat([[0] * 4 + [1 + number % 2] * 4], 6, axis=0))
    (tmp_path / "classes.txt").write_text("ground\nleft\nright\n")
    return tmp_path


@pytest.mark.parametrize(("names", "splits"), LAYOUTS)
def test_layouts_are_recognised(names: tuple[str, ...], splits: tuple[str, ...]):
    parts = semantic_parts(names)
    assert tuple(parts) == splits
    assert all(mask is not None for part in parts.values() for _, mask in part.pairs)


@pytest.mark.parametrize(
    "names",
    [
        ("images/a.jpg", "labels/a.txt"),
        ("images/a.jpg", "annotations/all.json"),
        ("train/cat/a.jpg", "train/dog/b.jpg"),
        ("images/train2017/a.jpg", "annotations/panoptic_train2017/a.png"),
    ],
)
def test_other_data_is_none_of_it(names: tuple[str, ...]):
    assert semantic_parts(names) == {}


def test_a_split_without_any_mask_is_left_out_and_spare_masks_are_told():
    parts = semantic_parts(("train/images/a.jpg", "train/masks/a.png", "train/masks/b.png", "test/images/c.jpg"))
    assert tuple(parts) == ("train",)
    assert parts["train"].spare == ["train/masks/b.png"]


def test_pictures_and_classes_are_read(data: Path):
    assert is_semantic(data)
    assert semantic_splits(data) == ("train", "val")
    pictures = open_semantic(data, "train")
    assert (len(pictures), pictures.names) == (4, ("ground", "left", "right"))
    sample = pictures.load(1)
    assert sample.image.shape == (3, 6, 8)
    assert sample.labels[0].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    assert Path(sample.name) == data / "train/images/1.png"


def test_a_zip_is_read_where_it_lies(data: Path, tmp_path: Path):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(data.rglob("*.*")):
            if file != packed:
                archive.write(file, f"streets/{file.relative_to(data).as_posix()}")
    assert open_semantic(packed, "val").load(1).labels.max() == 2


def test_without_a_list_classes_are_the_values_that_occur(data: Path):
    (data / "classes.txt").unlink()
    assert open_semantic(data, "train").names == ("class 0", "class 1", "class 2")
    assert open_semantic(data, "val", ignored=(2,)).names == ("class 0", "class 1")


def test_undivided_data_is_parted_and_all_of_it_can_be_had(tmp_path: Path):
    for number in range(12):
        write(tmp_path, f"images/{number}.png", np.zeros((4, 4, 3)), "RGB")
        write(tmp_path, f"masks/{number}.png", np.eye(4))
    assert semantic_splits(tmp_path) == ("train", "val")
    parts = [open_semantic(tmp_path, split) for split in ("train", "val", "all")]
    assert len(parts[0]) + len(parts[1]) == len(parts[2]) == 12
    assert not {name for name, _ in parts[0].pairs} & {name for name, _ in parts[1].pairs}


def fault(kind: str, root: Path) -> None:
    mask, picture = root / "train/masks/2.png", root / "train/images/2.png"
    if kind == "unknown-value":
        write(root, "train/masks/2.png", np.full((6, 8), 7))
    elif kind == "mask-size":
        write(root, "train/masks/2.png", np.zeros((6, 9)))
    elif kind == "missing-mask":
        mask.unlink()
    elif kind == "unreadable-mask":
        mask.write_bytes(b"\x89PNG cut")
    elif kind == "lossy":
        mask.unlink()
        write(root, "train/masks/2.jpg", np.zeros((6, 8)))
    else:
        picture.write_bytes(picture.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("unknown-value", "the value 7 in 48 pixels, which is none of the 3 classes"),
        ("mask-size", "the mask is 6x9, its picture 6x8"),
        ("missing-mask", "there is no mask of this name"),
        ("unreadable-mask", "no picture that Pillow can read"),
        ("lossy", "does not keep the classes"),
        ("unreadable-picture", "cut short"),
    ],
)
def test_faults_are_found_told_and_left_out(kind: str, line: str, data: Path):
    fault(kind, data)
    pictures = open_semantic(data, "train")
    report = check_semantic(pictures, deep=True)
    kinds = {"lossy": "unreadable-mask"}
    assert [each.kind for each in report.errors] == [kinds.get(kind, kind)]
    with pytest.raises(UserError, match=line):
        report.raise_if_fatal()
    kept = without_faulty(pictures, report)
    assert [name for name, _ in kept.pairs] == [f"train/images/{number}.png" for number in (0, 1, 3)]
    assert not check_semantic(kept, deep=True).errors
    with pytest.raises(UserError):
        pictures.load(2)


def test_the_report_counts_pixels_and_pictures(data: Path):
    write(data, "train/masks/9.png", np.zeros((6, 8)))
    write(data, "train/masks/0.png", np.full((6, 8), 255))
    (report, _) = check_semantic_folder(data)
    counts = {each.name: (each.pixels, each.pictures, each.area) for each in report.classes}
    assert counts == {"ground": (72, 3, 144), "left": (24, 1, 48), "right": (48, 2, 96)}
    assert report.labelled == 0.75
    assert [each.kind for each in report.faults] == ["spare-mask", "no-labels"]
    assert "75.0% of the pixels" in report.render()
    assert report.to_json()["pictures"] == 4


def test_one_class_alone_is_refused(data: Path):
    (data / "classes.txt").write_text("ground\n")
    for mask in data.rglob("masks/*.png"):
        Image.new("L", (8, 6)).save(mask)
    with pytest.raises(UserError, match="one class only, 'ground'"):
        check_semantic(open_semantic(data, "train")).raise_if_fatal()


def test_coloured_masks_want_a_list(data: Path):
    (data / "classes.txt").unlink()
    write(data, "train/masks/0.png", np.full((6, 8, 3), (1, 2, 3)), "RGB")
    with pytest.raises(UserError, match="no list says what they mean"):
        open_semantic(data, "train")


def test_what_is_not_there_is_told(data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no split 'test'"):
        open_semantic(data, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures with masks here"):
        open_semantic(tmp_path / "empty")
    assert not is_semantic(tmp_path / "nowhere")


def test_classes_take_the_order_of_a_model(data: Path):
    pictures = open_semantic(data, "train")
    source = relabelled(pictures, ("right", "sky", "ground", "left"), data)
    assert source.load(0).labels[0].tolist() == [2, 2, 2, 2, 3, 3, 3, 3]
    assert len(first_pictures(source, 2)) == 2
    with pytest.raises(UserError, match="a class 'left', which is none of the model's"):
        relabelled(pictures, ("ground", "right"), data)


def test_every_pixel_of_a_scene_has_a_class():
    scenes = SemanticScenes("val", 2)
    sample = scenes.load(1)
    assert len(scenes.names) == 22
    assert int(sample.labels.max()) < 22
    assert torch.equal(sample.labels, SemanticScenes("val", 2).load(1).labels)
    # Some background shows in every scene.
    assert bool((sample.labels >= 15).any())


def test_the_streets_of_camvid(shared_data):
    root = shared_data("camvid")
    pictures = open_semantic(root, "val", ignored=(11,))
    assert (len(pictures), len(pictures.names), pictures.names[3]) == (101, 11, "road")
    sample = pictures.load(0)
    assert sample.labels.shape == (360, 480)
    # The lower middle of a street scene is road.
    assert int(sample.labels[300, 200]) == 3
    with pytest.raises(UserError, match="the value 11"):
        check_semantic(open_semantic(root, "val").select(range(3))).raise_if_fatal()
