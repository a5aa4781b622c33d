"""Writing files so that a reader never meets half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sleuth.errors import UserError

_MEND = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder with --out"),
    errno.EACCES: ("no permission to write", "choose a folder that you may write to with --out"),
    errno.EPERM: ("no permission to write", "choose a folder that you may write to with --out"),
    errno.EROFS: ("the file system is read-only", "choose a folder that you may write to with --out"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder with --out"),
    errno.EEXIST: ("a file of this name is in the way", "choose another folder with --out"),
    errno.EISDIR: ("this is a folder, not a file", "name a file"),
    errno.EFBIG: ("the file would be larger than the limit set for this process", "raise the limit (ulimit -f)"),
    errno.ENAMETOOLONG: ("the path is too long", "choose a shorter one"),
}


def explain_os_error(error: OSError, path: Path) -> UserError | None:
    """The user's version of a failed write, or None where the fault is not the user's."""
    if error.errno not in _MEND:
        return None
    what, mend = _MEND[error.errno]
    return UserError(f"cannot write: {what}", where=path, mend=mend)


@contextmanager
def user_errors_for(path: Path) -> Iterator[None]:
    """Turn a failed write under ``path`` into a UserError that says what, where and how to mend it."""
    try:
        yield
    except OSError as error:
        explained = explain_os_error(error, path)
        if explained is None:
            raise
        raise explained from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    A pipe or a device, such as ``/dev/null``, is written to rather than replaced.

    Raises:
        UserError: the disk is full, or the place is not writable. Nothing is left behind and a former file stays.
    """
    path = Path(path)
    with user_errors_for(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays, since writers such as PIL choose the format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` to fill; on success give it that name.

    Raises:
        UserError: there is something in the place already, or the place is not writable. Nothing is left behind.
    """
    path = Path(path)
    with user_errors_for(path):
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            what = "there is a file of this name" if path.is_file() else "the folder is not empty"
            raise UserError(what, where=path, mend="choose another one with --out")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        UserError: it cannot be created; the message says why.
    """
    with user_errors_for(Path(path)):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
