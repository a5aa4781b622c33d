"""What becomes of each way in which a command can end. No command is really run."""

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
import typer

from sleuth.cli import main
from sleuth.errors import UserError, UserWarningLine


@pytest.fixture
def ends_with(monkeypatch, capsys) -> Callable[[BaseException | int | None], tuple[int, str, str]]:
    """Run a command that raises or returns this; its exit code, standard output and standard error."""

    def run(ending: BaseException | int | None) -> tuple[int, str, str]:
        def command(**_: object) -> object:
            if isinstance(ending, BaseException):
                raise ending
            return ending

        monkeypatch.setattr(typer.main, "get_command", lambda _: type("Command", (), {"main": staticmethod(command)}))
        code = main.run([])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_success_is_zero(ends_with):
    assert ends_with(None) == (0, "", "")
    assert ends_with(130) == (130, "", "")


def test_a_users_fault_is_one_line_and_two(ends_with):
    error = UserError("wrong\nthing", where="a.toml", mend="write it anew")
    assert ends_with(error) == (2, "", "sleuth: error: a.toml: wrong thing. write it anew\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "standard output: no space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/secret/x"), "/secret/x: permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "folder"), "folder: is a directory"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: tried 9 bytes"), "not enough memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "not enough memory"),
    ],
)
def test_what_the_system_refuses_is_the_users_to_mend(error: Exception, said: str, ends_with):
    code, out, err = ends_with(error)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), OSError(errno.EBADF, "Bad file descriptor")])
def test_bugs_show_a_traceback(error: Exception, ends_with):
    with pytest.raises(type(error)):
        ends_with(error)


def test_the_traceback_of_a_users_fault_can_be_asked_for(ends_with, monkeypatch):
    monkeypatch.setenv("SLEUTH_TRACEBACK", "1")
    with pytest.raises(UserError):
        ends_with(UserError("wrong"))


def test_interruption_is_130(ends_with):
    assert ends_with(KeyboardInterrupt()) == (130, "", "sleuth: interrupted\n")
    assert ends_with(typer.Abort())[0] == 130


def test_a_reader_that_has_gone_is_no_fault():
    """As in `sleuth ... | head -1`."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from sleuth.cli.main import run; sys.exit(run(['--help']))"
    ended = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_warnings_are_one_line(monkeypatch, capsys):
    def command(**_: object) -> None:
        warnings.warn("two\nlines", UserWarningLine, stacklevel=1)

    monkeypatch.setattr(typer.main, "get_command", lambda _: type("Command", (), {"main": staticmethod(command)}))
    monkeypatch.setattr(sys, "warnoptions", [])
    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main.run([])
    assert capsys.readouterr().err == "sleuth: warning: two lines\n"
    assert warnings.showwarning is shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "a.png", "--modle", "x"], "no such option: --modle"),
        (["predict"], "missing"),
        (["trian"], "no such command 'trian'"),
        (["data", "chekc"], "no such command 'chekc'"),
        (["predict", "a.png", "--threshold", "high"], "valid number, unable to parse string as a number, not 'high'"),
        (["predict", "a.png", "--threshold=high"], "not 'high'"),
        (["models", "surplus"], "unexpected extra argument"),
        (["trace", "--model"], "requires an argument"),
    ],
)
def test_a_mistyped_command_is_one_line_that_names_the_help(words: list[str], said: str, capsys):
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("sleuth: error: ")
    assert said in line.lower()
    assert "--help`" in line


def test_the_nearest_option_and_command_are_named(capsys):
    main.run(["predict", "a.png", "--modle", "x"])
    assert "--model" in capsys.readouterr().err
    main.run(["trian"])
    assert "'train'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["data"], ["data", "--help"]])
def test_help(words: list[str], capsys):
    assert main.run(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: sleuth")
    assert err == ""


def test_version(capsys):
    import sleuth

    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"sleuth {sleuth.__version__}\n"


def test_every_command_has_help_that_fits_a_line(capsys):
    main.run(["--help"])
    out = capsys.readouterr().out
    assert "..." not in out.split("Commands:")[1]
    for name in ("demo", "predict", "train", "evaluate", "trace", "models", "data check", "data scenes"):
        assert main.run([*name.split(), "--help"]) == 0
        assert f"Usage: sleuth {name}" in capsys.readouterr().out
