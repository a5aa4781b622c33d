"""The pictures: the same everywhere, fairly annotated, with splits that share nothing."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneConfig, SceneSource
from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.glyphs import SPLITS, digit_glyph, digit_numbers
from sleuth.data.scenes.masks import visible_stuff
from sleuth.data.scenes.palette import COLOURS, brightness
from sleuth.errors import UserError

# Bytes of a few pictures and their boxes. A change here means that published figures on scenes no longer hold.
CHECKSUMS = {
    "train": "342e4f409547f687",
    "val": "d9c9ef01077d32b1",
    "test": "2bdfcf95f48d8686",
    "seed 7": "d1eee347ac3751cf",
    "lanes": "38b0b87516f5c3a2",
    "large": "f431e7ba9730967d",
}


def checksum(source: SceneSource, count: int = 12) -> str:
    digest = hashlib.sha256()
    for index in range(count):
        sample = source.load(index)
        digest.update(sample.image.numpy().tobytes())
        digest.update(sample.boxes_xyxy_px.numpy().astype("<f4").tobytes())
        digest.update(sample.labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", CHECKSUMS)
def test_scenes_are_the_same_on_every_machine(name):
    sources = {
        "train": SceneSource("train"),
        "val": SceneSource("val"),
        "test": SceneSource("test"),
        "seed 7": SceneSource("test", seed=7),
        "lanes": SceneSource("test", config=SceneConfig(lanes=True)),
        "large": SceneSource("test", config=SceneConfig(size_hw=(200, 320), max_size=120)),
    }
    assert checksum(sources[name]) == CHECKSUMS[name]


def test_raw_decisions_are_pinned():
    dice = Dice(1, 2, 3)
    assert [dice.integer(0, 999) for _ in range(6)] == [614, 847, 624, 480, 992, 418]
    assert dice.bytes(4).tolist() == [181, 14, 9, 38]


def test_a_scene_depends_on_its_index_alone():
    source = SceneSource("train", count=50)
    alone = source.load(17)
    for index in (3, 49, 0):
        source.load(index)
    again = SceneSource("train").load(17)
    assert torch.equal(alone.image, again.image)
    assert torch.equal(alone.boxes_xyxy_px, again.boxes_xyxy_px)
    assert not torch.equal(alone.image, source.load(18).image)


def test_splits_share_no_digit_and_no_scene():
    used = [{number for digit in digit_numbers(split) for number in digit} for split in SPLITS]
    assert sum(map(len, used)) == len(set().union(*used)) == 1797
    assert [round(len(part) / 1797, 2) for part in used] == [0.6, 0.2, 0.2]
    assert all(len(digit) > 20 for split in SPLITS for digit in digit_numbers(split))
    pictures = [SceneSource(split).load(0).image for split in SPLITS]
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


def test_it_is_a_sample_source():
    source = SceneSource("val")
    assert isinstance(source, SampleSource)
    assert len(source) == 500
    assert len(source.names) == 15
    assert source.category_ids == tuple(range(1, 16))
    sample = source.load(3)
    assert sample.image.shape == (3, 128, 128)
    assert sample.image.dtype == torch.uint8
    assert sample.image_id == 4
    assert sample.size_hw == (128, 128)
    with pytest.raises(IndexError, match="scene 500 of 500"):
        source.load(500)


def test_boxes_are_tight_around_what_is_seen():
    source = SceneSource("train")
    for index in range(60):
        sample, scene = source.load(index), source.render(index)
        assert np.array_equal(scene.image, sample.image.permute(1, 2, 0).numpy())
        assert [thing.label for thing in scene.objects] == sample.labels.tolist()
        for thing, box in zip(scene.objects, sample.boxes_xyxy_px.tolist(), strict=True):
            rows, columns = np.nonzero(thing.visible_mask)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert tuple(box) == thing.box_xyxy_px
            assert not (thing.visible_mask & ~thing.full_mask).any()
            assert thing.visible_share >= source.config.min_visible


def test_masks_are_what_is_seen():
    boxes, instances = SceneSource("val"), SceneSource("val", annotations="instances")
    assert boxes.load(0).masks is None
    assert instances.names == boxes.names
    for index in range(20):
        sample, scene = instances.load(index), boxes.render(index)
        assert torch.equal(sample.image, boxes.load(index).image)
        assert torch.equal(sample.boxes_xyxy_px, boxes.load(index).boxes_xyxy_px)
        assert sample.masks.dtype == torch.bool
        seen = np.stack([thing.visible_mask for thing in scene.objects])
        assert np.array_equal(sample.masks.numpy(), seen)


@pytest.mark.parametrize("config", [SceneConfig(), SceneConfig(lanes=True), SceneConfig(min_objects=0, max_objects=0)])
def test_panoptic_scenes_part_the_picture(config):
    source, plain = SceneSource("val", config=config, annotations="panoptic"), SceneSource("val", config=config)
    assert source.names == (*plain.names, "gradient", "clouds", "grain", "stripes", "checks", "dots", "road")
    assert source.category_ids == tuple(range(1, 23))
    assert source.is_thing == (True,) * 15 + (False,) * 7
    for index in range(20):
        sample, scene, bare = source.load(index), source.render(index), plain.load(index)
        things = len(bare.labels)
        assert torch.equal(sample.image, bare.image)
        assert torch.equal(sample.boxes_xyxy_px[:things], bare.boxes_xyxy_px)
        assert torch.equal(sample.labels[:things], bare.labels)
        assert (sample.masks.sum(0) == 1).all()
        stuff = (sample.labels[things:] - 15).tolist()
        assert len(set(stuff)) == len(stuff) >= 1
        for kind, mask in zip(stuff, sample.masks[things:].numpy(), strict=True):
            ids = [region.segment_id for region in scene.regions if region.label == kind]
            assert np.array_equal(mask, np.isin(scene.segments, ids))
        for box, mask in zip(sample.boxes_xyxy_px.tolist(), sample.masks, strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_stuff_of_one_kind_is_one_segment_and_hidden_stuff_none():
    composition = next(
        found for index in range(50) if len((found := SceneSource("train").compose(index)).background.kinds) == 3
    )
    background, hidden = composition.background, composition.object_at.copy()
    hidden[background.region_of == 1] = 1  # an object lies over the whole of one region
    twins = replace(background, kinds=(4, 2, 4))
    (stuff,) = visible_stuff(replace(composition, background=twins, object_at=hidden))
    assert (stuff.kind, stuff.region) == (4, 0)
    assert np.array_equal(stuff.mask, (background.region_of != 1) & (hidden == 0))


def test_every_class_and_number_of_objects_occurs():
    source = SceneSource("train")
    samples = [source.load(index) for index in range(200)]
    counts = torch.bincount(torch.cat([sample.labels for sample in samples]), minlength=15)
    assert len(counts) == 15
    assert counts.min() > 0.5 * counts.float().mean()
    assert {len(sample.labels) for sample in samples} == set(range(1, 8))


def test_objects_stand_out_from_what_lies_around_them():
    source = SceneSource("test")
    faint = total = 0
    luma = np.array([77, 150, 29]) / 256
    for index in range(60):
        scene = source.render(index)
        picture = scene.image.astype(int)
        covered = np.any([thing.full_mask for thing in scene.objects], axis=0)
        for thing in scene.objects:
            left, top, right, bottom = thing.box_xyxy_px
            around = picture[top:bottom, left:right][~covered[top:bottom, left:right]]
            if len(around) > 20:
                total += 1
                difference = picture[thing.visible_mask].mean(0) - around.mean(0)
                faint += bool(abs(difference @ luma) < 25 and np.abs(difference).max() < 40)
    assert total > 150
    assert faint <= 0.01 * total


def test_colours_differ_by_name_and_keep_room_for_grain():
    assert all(30 <= channel <= 225 for colour in COLOURS.values() for channel in colour)
    assert max(map(brightness, COLOURS.values())) - min(map(brightness, COLOURS.values())) > 150


@pytest.mark.parametrize("size_hw", [(16, 16), (64, 200), (300, 270), (40, 560)])
def test_any_picture_size(size_hw):
    source = SceneSource("train", config=SceneConfig(size_hw=size_hw, max_size=200))
    for index in range(6):
        sample = source.load(index)
        assert sample.image.shape == (3, *size_hw)
        assert (sample.boxes_xyxy_px[:, 2:] > sample.boxes_xyxy_px[:, :2]).all()
        assert (sample.boxes_xyxy_px >= 0).all()
        assert (sample.boxes_xyxy_px[:, 2:] <= torch.tensor([size_hw[1], size_hw[0]])).all()


def test_config_is_obeyed():
    config = SceneConfig(
        min_objects=2, max_objects=2, min_size=20, max_size=24, rotation_degrees=0, clutter=0, overlap=0.0
    )
    source = SceneSource("train", config=config)
    for index in range(20):
        scene = source.render(index)
        assert len(scene.objects) == 2
        assert all(thing.degrees == 0 for thing in scene.objects)
        for thing in scene.objects:
            left, top, right, bottom = thing.box_xyxy_px
            if thing.visible_share == 1:
                assert 18 <= max(right - left, bottom - top) <= 26


def test_empty_scenes_are_possible():
    sample = SceneSource("train", config=SceneConfig(min_objects=0, max_objects=0)).load(0)
    assert sample.boxes_xyxy_px.shape == (0, 4)
    assert sample.labels.shape == (0,)


def test_digits_keep_their_shape():
    for number in (0, 100, 900):
        glyph = digit_glyph(number)
        left, top, right, bottom = glyph.box
        assert 70 < glyph.extent <= 126
        assert glyph.field[top:bottom, left:right].max() == 255
        assert glyph.field[0].max() == glyph.field[:, -1].max() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SceneConfig(min_objects=5, max_objects=3), "max_objects: 3 is not between 5 and 100"),
        (lambda: SceneConfig(size_hw=(8, 8)), "size_hw"),
        (lambda: SceneConfig(overlap=2), "overlap: 2 is not between"),
        (lambda: SceneSource("train", count=0), "ask for at least one"),
        (lambda: SceneSource("train", seed=-1), "negative"),
        (lambda: SceneSource("train", annotations="masks"), "choose one of boxes, instances, panoptic"),
    ],
)
def test_faults_are_the_users(make, message):
    with pytest.raises(UserError, match=message):
        make()
