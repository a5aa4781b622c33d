"""`--help` of the program and of every command tells of every option, and asks nothing else of the reader."""

import inspect
import re
from collections.abc import Iterator

import pytest
import typer

from sleuth.cli.main import app, run


def commands(group=None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command by its words, groups among them."""
    group = group or typer.main.get_command(app)
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


EVERY = dict(commands())


def help_of(words: tuple[str, ...], capsys) -> str:
    assert run([*words, "--help"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words) or "sleuth")
def test_help_lists_every_option_and_what_it_means(words: tuple[str, ...], capsys):
    text = help_of(words, capsys)
    assert text.startswith(f"Usage: {' '.join(('sleuth', *words))} ")
    for parameter in EVERY[words].params:
        if parameter.param_type_name == "option":
            assert all(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in parameter.opts)
        assert parameter.help, f"{parameter.name} says nothing of itself"
        assert parameter.help[0].isupper() or parameter.help.split()[0].rstrip(",;") in {"coco", "auto", "cpu", "train"}


@pytest.mark.parametrize("words", [words for words in EVERY if hasattr(EVERY[words], "commands")])
def test_groups_list_their_commands(words: tuple[str, ...], capsys):
    text = help_of(words, capsys)
    for name in EVERY[words].commands:
        assert re.search(rf"^  {name} +\w", text, flags=re.MULTILINE)


def test_the_commands_of_the_readme_are_there():
    assert {" ".join(words) for words in EVERY} >= {
        "demo", "predict", "train", "evaluate", "trace", "models", "data check", "data scenes"
    }  # fmt: skip


def test_a_group_alone_shows_its_help(capsys):
    for words in ([], ["data"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith("Usage: sleuth")


@pytest.mark.parametrize("words", [words for words in EVERY if not hasattr(EVERY[words], "commands")])
def test_defaults_are_those_of_the_function(words: tuple[str, ...]):
    command = EVERY[words]
    signature = inspect.signature(inspect.unwrap(command.callback))
    for parameter in command.params:
        if parameter.name in signature.parameters:
            default = signature.parameters[parameter.name].default
            assert parameter.default == (None if default is inspect.Parameter.empty else default)
