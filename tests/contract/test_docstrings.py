"""Docstrings tell of the parameters that there are, and of no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sleuth

SOURCE = Path(sleuth.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def described(doc: str) -> list[str]:
    """Names in the Args section of a docstring."""
    found = re.search(r"^Args:\n((?:    .*\n|\n)*)", doc + "\n", flags=re.MULTILINE)
    return re.findall(r"^ {4}(\w+):", found[1], flags=re.MULTILINE) if found else []


def parameters(node: Named) -> set[str]:
    """Parameters of a function; of a class those of its __init__ and its fields."""
    if isinstance(node, ast.ClassDef):
        fields = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        return fields.union(*(parameters(init) for init in inits))
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return {argument.arg for argument in every}


def documented(path: Path) -> Iterator[tuple[Named, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Named) and (doc := ast.get_docstring(node)):
            yield node, doc


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_described_parameters_exist(path: Path) -> None:
    for node, doc in documented(path):
        unknown = set(described(doc)) - parameters(node)
        assert not unknown, f"{node.name} describes {sorted(unknown)}, which it does not take"


def test_annotations_are_not_postponed() -> None:
    """With postponed annotations the shapes in signatures would not be checked."""
    assert not [path for path in FILES if "from __future__ import annotations" in path.read_text(encoding="utf-8")]
