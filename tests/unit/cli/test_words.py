"""Sizes, JSON, and what a person sees."""

import json
from pathlib import Path

import pytest

from sleuth.cli.console import json_text, progress, write_json
from sleuth.cli.sizes import parse_size
from sleuth.errors import UserError


@pytest.mark.parametrize("text", ["800x600", "800X600", " 800 x 600 ", "800\u00d7600"])
def test_sizes(text: str):
    assert parse_size(text) == (800, 600)


@pytest.mark.parametrize(
    "text", ["", "800", "x", "800x", "800x600x3", "-8x6", "8.5x6", "31x600", "800x9000", "9999999999x1"]
)
def test_what_is_no_size(text: str):
    with pytest.raises(UserError, match="--size"):
        parse_size(text)


def test_numbers_stay_on_one_line():
    value = {"bbox": [1.5, -2, 3e-05], "names": ["a[1,  2]", "b"], "empty": [], "deep": [[1, 2], [3, 4]]}
    text = json_text(value)
    assert json.loads(text) == value
    assert '"bbox": [1.5, -2, 3e-05]' in text
    assert text.endswith("}\n")


def test_file_names_that_are_not_utf8_survive():
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    json_text([name, "é"]).encode("utf-8")
    assert json.loads(json_text([name])) == [name]
    assert "é" in json_text(["é"])


def test_json_goes_to_stdout_or_to_a_file(tmp_path: Path, capsys):
    write_json([1, 2], "-")
    assert json.loads(capsys.readouterr().out) == [1, 2]
    write_json([3], str(tmp_path / "new" / "a.json"))
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == [3]
    assert capsys.readouterr().out == ""


def test_progress_is_silent_without_a_terminal(capsys):
    with progress("looking", 3) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_progress_in_a_terminal_leaves_nothing_behind(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("looking", None) as advance:
        advance(1)
    assert capsys.readouterr().out == ""
