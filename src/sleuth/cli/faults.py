"""Telling the faults of a user's from bugs: the first end in one line, the second in a traceback."""

import errno
from collections.abc import Sequence

import typer

from sleuth.errors import UserError

# typer carries its own copy of click in some versions; the base of its public errors is the same in all.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_USERS_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMFILE,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def line_of(error: Exception, words: Sequence[str] = ()) -> str | None:
    """What is wrong, where, and how to mend it, in one line; None for a bug.

    Args:
        error: what a command raised.
        words: what was typed after ``sleuth``.
    """
    if isinstance(error, UserError):
        return error.line()
    if isinstance(error, _UsageError):
        return _usage_line(error, words)
    if isinstance(error, OSError) and error.errno in _USERS_ERRNOS:
        where = error.filename or "standard output"
        return UserError(_reason(error), where=where, mend="check the path, its permissions and the space left").line()
    if _is_out_of_memory(error):
        return UserError("there is not enough memory", mend="use smaller batches or smaller pictures").line()
    return None


def is_help(error: Exception) -> bool:
    """Whether this only asks for the help text to be shown, as a group of commands without any word does."""
    return isinstance(error, _UsageError) and type(error).__name__ == "NoArgsIsHelpError"


def _usage_line(error: Exception, words: Sequence[str]) -> str:
    """A wrong option or argument, with what was given and the command whose help to read."""
    said = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    given = _given(getattr(error, "param", None), words)
    if isinstance(error, typer.BadParameter) and given is not None and given not in said:
        said = f"{said.rstrip('.')}, not {given!r}"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sleuth"
    said = said[:1].lower() + said[1:]
    return f"{said.rstrip('.')}. see `{command} --help`" if not said.endswith("?") else f"{said} see `{command} --help`"


def _given(param: object, words: Sequence[str]) -> str | None:
    """The last value that was typed for an option."""
    given = None
    for option in getattr(param, "opts", ()):
        for place, word in enumerate(words):
            if word == option and place + 1 < len(words):
                given = words[place + 1]
            elif word.startswith(f"{option}="):
                given = word.partition("=")[2]
    return given


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _is_out_of_memory(error: Exception) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error))
    )
