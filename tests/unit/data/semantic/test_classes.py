"""Lists of classes in the forms that people write them in, and masks read by them."""

from pathlib import Path

import numpy as np
import pytest

from sleuth.data.semantic.classes import ClassList, Entry, numbered_classes, read_class_list
from sleuth.errors import UserError

COLOURS = "128 128 128 sky\n128 64 128 road surface\n0 0 0 Void\n"
NUMBERED = [
    ("classes.txt", "# three\nsky\n\nroad surface\nvoid\n"),
    ("classes.txt", "sky\nroad surface\nunlabelled"),
    ("classes.csv", "name,id\nsky,0\nroad surface,1\nvoid,2\n"),
    ("classes.json", '["sky", "road surface", "void"]'),
    ("classes.json", '{"0": "sky", "1": "road surface", "2": "ignore"}'),
    ("classes.json", '{"sky": 0, "road surface": 1, "void": 2}'),
    ("classes.json", '{"classes": [{"name": "sky"}, {"name": "road surface"}, {"name": "void"}]}'),
]
COLOURED = [
    ("classes.txt", COLOURS),
    ("label_colors.txt", "sky 128 128 128\nroad surface 128 64 128\nVoid 0 0 0\n"),
    ("class_dict.csv", "name,r,g,b\nsky,128,128,128\nroad surface,128,64,128\nvoid,0,0,0\n"),
    ("classes.json", '{"sky": [128, 128, 128], "road surface": [128, 64, 128], "void": [0, 0, 0]}'),
]


def read(name: str, text: str, ignored: tuple[int, ...] = ()) -> ClassList:
    return read_class_list(text.encode(), Path(name), ignored)


@pytest.mark.parametrize(("name", "text"), [*NUMBERED, *COLOURED])
def test_each_form_names_the_same_classes_and_void_is_none(name: str, text: str):
    classes = read(name, text)
    assert classes.names == ("sky", "road surface")
    labels, unknown = classes.labels(np.array([[0, 1, 2, 255]], dtype=np.uint8))
    assert (labels.tolist(), unknown) == ([[0, 1, 255, 255]], "")


@pytest.mark.parametrize(("name", "text"), COLOURED)
def test_colours_are_looked_up_by_pixel_and_by_palette(name: str, text: str):
    classes = read(name, text)
    colours = np.array([[[128, 64, 128], [0, 0, 0], [128, 128, 128]]], dtype=np.uint8)
    assert classes.labels(colours)[0].tolist() == [[1, 255, 0]]
    palette = np.array([[0, 0, 0], [128, 64, 128], [128, 128, 128]], dtype=np.uint8)
    assert classes.labels(np.array([[2, 1, 0]], dtype=np.uint8), palette)[0].tolist() == [[0, 1, 255]]


def test_what_is_no_class_is_told_with_its_pixels():
    labels, unknown = read("classes.txt", COLOURS).labels(np.full((2, 2, 3), (1, 2, 3), dtype=np.uint8))
    assert unknown == "the colour 1 2 3 in 4 pixels"
    assert (labels == 255).all()
    _, unknown = read("classes.txt", "a\nb\n").labels(np.array([[0, 7, 9, 9, 300]], dtype=np.int32))
    assert unknown == "the value 7, the value 9, the value 300 in 4 pixels"
    assert "no list" in read("classes.txt", "a\nb\n").labels(np.full((1, 1, 3), (1, 2, 3), dtype=np.uint8))[1]


def test_grey_colours_are_numbers_where_the_list_has_no_colours():
    assert read("classes.txt", "a\nb\n").labels(np.full((1, 2, 3), 1, dtype=np.uint8))[0].tolist() == [[1, 1]]


def test_ignored_values_mean_nothing_and_a_class_may_have_the_value_255():
    assert read("classes.txt", "a\nb\n", (11,)).labels(np.array([[11, 1]]))[0].tolist() == [[255, 1]]
    binary = read("classes.json", '[{"name": "ground", "id": 0}, {"name": "thing", "id": 255}]')
    assert binary.labels(np.array([[0, 255]], dtype=np.uint8))[0].tolist() == [[0, 1]]
    assert numbered_classes(3, (1,)).names == ("class 0", "class 2")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("classes.txt", "a\na\n", "two classes have the name 'a'"),
        ("classes.txt", "1 2 3 a\n1 2 3 b\n", "two classes have the colour"),
        ("classes.csv", "r,g,b\n1,2,3\n", "no column name"),
        ("classes.csv", "name,r,g,b\nsky,1\n", "cut short"),
        ("classes.json", '{"sky": [1, 2]}', "no readable list"),
        ("classes.json", '{"sky": [1, 2, 300]}', "no colour"),
        ("classes.json", "{", "no readable list"),
        ("classes.json", '[{"name": "sky", "id": -1}]', "has the value -1"),
    ],
)
def test_lists_at_fault_are_one_line(name: str, text: str, line: str):
    with pytest.raises(UserError, match=line):
        read(name, text)


def test_more_classes_than_8_bits_tell_apart_are_refused():
    with pytest.raises(UserError, match="256 classes"):
        ClassList(Entry(str(value), value) for value in range(256))
