"""The command line. Nothing here imports PyTorch before a command needs it, so that help answers at once."""

import os
import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from sleuth import __version__
from sleuth.cli import commands, data_commands, model_commands, text_commands, train_commands
from sleuth.cli.faults import is_help, line_of

USER_FAULT = 2
INTERRUPTED = 130

app = typer.Typer(
    name="sleuth",
    help="Query-based vision with Transformers: understand, train, trust and run DETR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Check a data set, or write the built-in scenes.", no_args_is_help=True)

for _command in (
    commands.demo,
    commands.predict,
    text_commands.translate,
    train_commands.train,
    train_commands.merge,
    train_commands.average,
    commands.evaluate,
    model_commands.convert,
    model_commands.trace,
    model_commands.models,
):
    app.command()(_command)
data.command("check")(data_commands.check)
data.command("scenes")(data_commands.scenes)
app.add_typer(data, name="data")


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"sleuth {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Query-based vision with Transformers: understand, train, trust and run DETR."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0; 2 for what the user can mend; 130 after Ctrl-C. Bugs raise.

    Args:
        argv: the words after ``sleuth``; None takes those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Names of files may hold what a terminal cannot show.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.showwarning = _show_warning
        try:
            result = typer.main.get_command(app).main(args=words, prog_name="sleuth", standalone_mode=False)
            sys.stdout.flush()
            return result if isinstance(result, int) else 0
        except BrokenPipeError:
            # The reader has gone, as in `sleuth ... | head`: nothing is wrong.
            _forget_stdout()
            return 0
        except SystemExit as ended:
            # typer ends so where the reader has gone, and a process of several whose first one speaks.
            if isinstance(ended.__context__, BrokenPipeError):
                _forget_stdout()
                return 0
            return ended.code if isinstance(ended.code, int) else bool(ended.code)
        except (KeyboardInterrupt, typer.Abort):
            _say("interrupted")
            return INTERRUPTED
        except Exception as error:
            if is_help(error):
                typer.echo(str(error))
                return 0
            line = line_of(error, words)
            if line is None or os.environ.get("SLEUTH_TRACEBACK"):
                raise
            _say(f"error: {line}")
            return USER_FAULT
        finally:
            _drop_stdout_if_broken()


def _say(text: str) -> None:
    print(f"sleuth: {text}", file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, without the place in the code."""
    _say(f"warning: {' '.join(str(message).split())}")


def _drop_stdout_if_broken() -> None:
    """What could not be written to a full disk or a closed pipe must not fail once more at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _forget_stdout()


def _forget_stdout() -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
