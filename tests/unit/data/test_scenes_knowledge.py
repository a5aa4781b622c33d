"""What is known about scenes: masks, regions, key points, phrases, clips and curves."""

from itertools import pairwise

import numpy as np
import pytest

from sleuth.data.scenes import SceneConfig, SceneSource
from sleuth.data.scenes.motion import reflected
from sleuth.data.scenes.phrases import Described, phrase, phrases
from sleuth.data.scenes.scene import FIRST_OBJECT_SEGMENT


@pytest.fixture(scope="module")
def scenes():
    source = SceneSource("test")
    return [source.render(index) for index in range(40)]


def test_every_pixel_belongs_to_one_segment(scenes):
    for scene in scenes:
        known = {region.segment_id for region in scene.regions} | {thing.segment_id for thing in scene.objects}
        assert set(np.unique(scene.segments).tolist()) <= known
        assert np.array_equal(sum(region.mask.astype(int) for region in scene.regions), np.ones((128, 128), int))
        for thing in scene.objects:
            assert np.array_equal(scene.segments == thing.segment_id, thing.visible_mask)
            assert thing.segment_id == FIRST_OBJECT_SEGMENT + thing.track_id


def test_regions_are_of_different_kinds(scenes):
    assert {len(scene.regions) for scene in scenes} == {1, 2, 3}
    assert len({region.name for scene in scenes for region in scene.regions}) == 6
    for scene in scenes:
        assert len({region.label for region in scene.regions}) == len(scene.regions)


def test_key_points_lie_on_their_object(scenes):
    for scene in scenes:
        for thing in scene.objects:
            centre, tips = thing.key_points_xy_px[0], thing.key_points_xy_px[1:]
            rows, columns = np.nonzero(thing.full_mask)
            for (x, y), seen in zip(tips + 0.1 * (centre - tips), thing.key_points_visible[1:], strict=True):
                near = np.min((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2)
                assert not seen or near < 3**2
    still = SceneSource("test", config=SceneConfig(rotation_degrees=0)).render(1)
    for thing in still.objects:
        points = thing.key_points_xy_px
        assert points[1, 1] < points[0, 1] < points[2, 1]
        assert points[3, 0] < points[0, 0] < points[4, 0]


def test_hidden_key_points_are_said_to_be(scenes):
    flags = np.concatenate([thing.key_points_visible for scene in scenes for thing in scene.objects])
    assert 0.8 < flags.mean() < 1
    for scene in scenes:
        for thing in scene.objects:
            if thing.visible_share == 1:
                assert thing.key_points_visible.all()


def test_phrases_name_one_object_each(scenes):
    for scene in scenes:
        texts = [thing.phrase for thing in scene.objects]
        assert len(set(texts)) == len(texts)
        for thing in scene.objects:
            assert f"{thing.colour_name} {thing.name}" in thing.phrase


def test_phrases_read_naturally():
    red = Described("circle", "red", size=0.1, x=0.1, y=0.1)
    assert phrase(red) == "the small red circle at the top left"
    assert phrase(Described("7", "blue", size=0.9, x=0.5, y=0.5)) == "the large blue 7 in the middle"
    twin = Described("circle", "red", size=0.2, x=0.05, y=0.2)
    assert phrases([red, twin]) == [
        "the small red circle at the top left, second from the left",
        "the small red circle at the top left, first from the left",
    ]


def test_a_clip_begins_with_the_still_scene_and_keeps_its_tracks():
    source = SceneSource("val")
    clip = source.render_clip(3, 12)
    still = source.render(3)
    assert np.array_equal(clip[0].image, still.image)
    assert [scene.frame for scene in clip] == list(range(12))
    looks = {thing.track_id: (thing.label, thing.colour_name) for thing in still.objects}
    for before, after in pairwise(clip):
        earlier = {thing.track_id: thing for thing in before.objects}
        assert not np.array_equal(before.image, after.image)
        for thing in after.objects:
            assert looks[thing.track_id] == (thing.label, thing.colour_name)
            assert np.array_equal(after.segments == thing.segment_id, thing.visible_mask)
            if thing.track_id in earlier:
                step = thing.key_points_xy_px[0] - earlier[thing.track_id].key_points_xy_px[0]
                assert np.abs(step).max() <= 5
    again = source.render_clip(3, 12)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(clip, again, strict=True))


def test_objects_hidden_in_a_frame_are_void_there():
    source = SceneSource("train", config=SceneConfig(min_objects=7, max_objects=7, min_size=40))
    clips = [scene for index in range(3) for scene in source.render_clip(index, 12)]
    assert any((scene.segments == 0).any() for scene in clips)
    for scene in clips:
        assert all(thing.visible_share >= source.config.min_visible for thing in scene.objects)


def test_objects_move_and_stay_in_the_picture():
    source = SceneSource("train", config=SceneConfig(max_objects=2))
    clip = source.render_clip(5, 80)
    first, last = clip[0].objects[0], clip[-1].objects[0]
    assert first.track_id == last.track_id
    assert first.box_xyxy_px != last.box_xyxy_px


def test_reflection_bounces():
    assert [reflected(x, 0, 10) for x in (-3, 0, 4, 10, 12, 23)] == [3, 0, 4, 10, 8, 3]
    assert reflected(5, 2, 2) == 2


def test_lanes_are_drawn_where_their_points_are():
    config = SceneConfig(lanes=True, clutter=0, min_objects=0, max_objects=0)
    counts = set()
    for index in range(20):
        scene = SceneSource("train", config=config).render(index)
        counts.add(len(scene.curves))
        assert [region.name for region in scene.regions][1] == "road"
        for curve in scene.curves:
            points = curve.points_xy_px
            assert (points >= 0).all()
            assert (points < 128).all()
            assert (np.diff(points[:, 1]) < 0).all()
            if not curve.dashed:
                painted = scene.image[points[:, 1].astype(int), points[:, 0].astype(int), 0]
                assert painted.mean() > 130
    assert counts <= {1, 2, 3, 4}
    assert {2, 3, 4} <= counts


def test_no_curves_without_lanes(scenes):
    assert all(scene.curves == () for scene in scenes)
