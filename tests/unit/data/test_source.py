"""Records become samples; labels can follow another class list."""

import pytest
import torch

from sleuth.data.open import open_data
from sleuth.data.samples import SampleSource
from sleuth.data.source import PictureSource
from sleuth.data.stream import TrainingStream
from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError


@pytest.fixture
def data(tmp_path, make_coco):
    annotations = [
        {"id": 1, "image_id": 11, "category_id": 7, "bbox": [5, 6, 10, 12], "iscrowd": 0},
        {"id": 2, "image_id": 11, "category_id": 3, "bbox": [0, 0, 30, 30], "iscrowd": 1},
    ]
    make_coco(tmp_path / "x.json", tmp_path, annotations=annotations)
    return open_data(tmp_path)


def test_samples_hold_the_objects_without_crowds(data):
    source = PictureSource(data)
    assert isinstance(source, SampleSource)
    assert (len(source), source.names, source.category_ids) == (2, ("cat", "dog"), (3, 7))
    sample = source.load(0)
    assert sample.image.shape == (3, 40, 60)
    assert sample.boxes_xyxy_px.tolist() == [[5, 6, 15, 18]]
    assert sample.labels.tolist() == [1]
    assert (sample.name, sample.image_id, sample.size_hw) == ("a.jpg", 11, (40, 60))
    assert source.load(1).boxes_xyxy_px.shape == (0, 4)


def test_a_stream_of_files(data):
    stream = TrainingStream(PictureSource(data), Augmentation.for_scale(64), batch_size=2, workers=1)
    ((images, targets),) = stream.epoch(0)
    assert images.pixels.shape[:2] == (2, 3)
    assert {target.name for target in targets} == {"a.jpg", "b.jpg"}


def test_a_file_that_vanishes_is_named(data):
    data.records[0].path.unlink()
    with pytest.raises(UserError, match=r"a\.jpg: there is no such picture"):
        PictureSource(data).load(0)


def test_labels_of_another_class_list(data):
    renamed = data.with_names(("ape", "dog", "cat"), category_ids=(5, 6, 9))
    assert renamed.records[0].labels.tolist() == [1, 2]
    assert renamed.category_ids == (5, 6, 9)
    assert data.with_names(data.names) is data
    assert data.with_names(("dog", "cat")).category_ids == (1, 2)
    with pytest.raises(UserError, match=r"does not know the class 'cat'.*its classes are 'dog'"):
        data.with_names(("dog",))


def test_boxes_in_batches_are_float32(data):
    assert PictureSource(data).load(0).boxes_xyxy_px.dtype == torch.float32
