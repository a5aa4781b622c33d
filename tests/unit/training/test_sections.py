"""Tables to dataclasses and back, and what is said about mistakes."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleuth.errors import UserError
from sleuth.training.sections import fill, read_toml, set_value, toml_text


@dataclass(frozen=True)
class Settings:
    rate: float = 1e-4
    steps: int = 1
    flip: bool = True
    name: str = ""
    kind: Literal["step", "cosine"] = "step"
    sizes: tuple[int, ...] = ()
    range: tuple[int, int] = (0, 1)
    longest: int | None = None
    other: dict[str, float] = field(default_factory=dict)


def filled(**table) -> Settings:
    return fill(Settings, table, section="run", where="recipe.toml")


def test_values_of_every_kind():
    given = filled(
        rate=1, steps=2.0, flip=False, name="x", kind="cosine", sizes=[1, 2], range=[3, 4], longest=5, other={"a": 1}
    )
    assert given == Settings(1.0, 2, False, "x", "cosine", (1, 2), (3, 4), 5, {"a": 1.0})
    assert type(given.rate) is float
    assert type(given.steps) is int


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rat": 1.0}, r"recipe.toml: unknown key in \[run\]: 'rat'. did you mean 'rate'\?"),
        ({"zzzz": 1.0}, r"valid: flip, kind"),
        ({"rate": "fast"}, r'run.rate = "fast" is not a finite number'),
        ({"rate": float("nan")}, "not a finite number"),
        ({"rate": True}, "run.rate = true is not a finite number"),
        ({"steps": 1.5}, "run.steps = 1.5 is not a whole number"),
        ({"steps": True}, "not a whole number"),
        ({"flip": 1}, "run.flip = 1 is not true or false"),
        ({"name": 3}, "run.name = 3 is not a text"),
        ({"kind": "cosin"}, r'"cosin" is none of: step, cosine. did you mean .cosine.\?'),
        ({"sizes": 3}, "run.sizes = 3 is not a list of a whole number"),
        ({"sizes": [1, "a"]}, 'run.sizes = "a" is not a whole number'),
        ({"range": [1]}, r"run.range = \[1\] is not a list of 2 values"),
        ({"longest": "no"}, "is not a whole number"),
    ],
)
def test_mistakes_are_named_with_file_key_and_mend(table, message):
    with pytest.raises(UserError, match=message):
        filled(**table)


def test_set_value_takes_toml_or_words():
    tables = {"run": {"steps": 1}}
    set_value(tables, "run.steps = 7")
    set_value(tables, "run.sizes=[1, 2]")
    set_value(tables, "data.path=../my data")
    set_value(tables, 'data.name="7"')
    assert tables == {"run": {"steps": 7, "sizes": [1, 2]}, "data": {"path": "../my data", "name": "7"}}


@pytest.mark.parametrize("assignment", ["steps=3", "run.steps", "=3", "run.=3", ".steps=3"])
def test_set_value_wants_section_key_and_value(assignment):
    with pytest.raises(UserError, match=r"section.key=value"):
        set_value({}, assignment)


def test_set_value_wants_a_section():
    with pytest.raises(UserError, match="not a section"):
        set_value({"run": 3}, "run.steps=3")


def test_missing_recipe_names_a_near_one(tmp_path: Path):
    (tmp_path / "detr-scenes.toml").write_text("")
    with pytest.raises(UserError, match=r"no such recipe. did you mean .*detr-scenes.toml"):
        read_toml(tmp_path / "detr-scene.toml")


def test_broken_toml_names_the_line(tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text("[run]\nsteps = \n")
    with pytest.raises(UserError, match=r"recipe.toml: not valid TOML: .*line 2"):
        read_toml(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_unreadable_recipe(tmp_path: Path, content):
    path = tmp_path / "recipe.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_toml(path)


values = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), values, max_size=4), max_size=3))
def test_written_toml_reads_back(tables):
    # Surrogates cannot be written as UTF-8 at all.
    text = toml_text(tables)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert tomllib.loads(text) == tables


def test_none_is_left_out():
    assert toml_text({"run": {"a": None, "b": 1}}) == "[run]\nb = 1\n"
