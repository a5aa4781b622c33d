"""Examples in docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import sleuth

SOURCE = Path(sleuth.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(("sleuth", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0, "the examples are in no docstring"
    assert result.failed == 0


def test_there_are_examples() -> None:
    assert "sleuth.geometry.boxes" in WITH_EXAMPLES
