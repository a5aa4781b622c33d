"""The command line. Nothing here imports PyTorch before a command needs it, so that help answers at once."""

import os
import sys
import warnings
from collections.abc import Sequence

import typer

from sleuth import __version__
from sleuth.cli import commands, data_commands
from sleuth.errors import UserError

app = typer.Typer(
    name="sleuth",
    help="Query-based vision with Transformers: understand, train, trust and run DETR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Look after data: check a data set, write the built-in scenes.", no_args_is_help=True)

for _command in (
    commands.demo,
    commands.predict,
    commands.train,
    commands.evaluate,
    commands.trace,
    commands.models,
):
    app.command()(_command)
data.command("check")(data_commands.check)
data.command("scenes")(data_commands.scenes)
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sleuth {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Query-based vision with Transformers: understand, train, trust and run DETR."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None takes the process's own.

    Returns: 0; 2 after a user's mistake, said in one line on stderr; 130 after Ctrl-C. Bugs raise.
    """
    command = typer.main.get_command(app)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.showwarning = _one_line
            result = command.main(
                args=list(sys.argv[1:] if argv is None else argv), prog_name="sleuth", standalone_mode=False
            )
            sys.stdout.flush()
    except UserError as error:
        return _fail(error.line())
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("sleuth: stopped", err=True)
        return 130
    except BrokenPipeError:
        # The reader has gone, as in `sleuth ... | head`: nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # What typer raises for words that it cannot take; its classes have no public home in all versions.
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return 0
        return _fail(f"{' '.join(error.format_message().split())} See `sleuth --help`")
    return result if isinstance(result, int) else 0


def _fail(line: str) -> int:
    typer.echo(f"sleuth: error: {line}", err=True)
    return 2


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"sleuth: warning: {' '.join(str(message).split())}", err=True)


def run() -> None:
    """The console script."""
    sys.exit(main())
