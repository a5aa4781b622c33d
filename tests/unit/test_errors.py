"""What a user can mend comes as one line."""

from pathlib import Path

from sleuth.errors import UserError


def test_what_where_and_how_to_mend_it() -> None:
    error = UserError("no such file", where=Path("a.json"), mend="check the path")
    assert str(error) == error.line() == "a.json: no such file. check the path"


def test_parts_may_be_left_out() -> None:
    assert UserError("no such file").line() == "no such file"
    assert UserError("is unknown", where="dim").line() == "dim: is unknown"
    assert UserError("it broke", mend="try again").line() == "it broke. try again"


def test_a_message_of_many_lines_becomes_one() -> None:
    assert UserError("first\n  second\tthird", where="x\ny").line() == "x y: first second third"
