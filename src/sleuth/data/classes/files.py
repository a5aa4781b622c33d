"""Where pictures of classes lie: a folder, or a zip file that is read without unpacking it."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from sleuth.data.pictures import is_picture
from sleuth.errors import UserError

_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError)


@runtime_checkable
class Files(Protocol):
    """Files under one root, by their names with slashes."""

    @property
    def root(self) -> Path:
        """The folder or archive."""
        ...

    def listing(self) -> tuple[list[str], list[str]]:
        """Names of all files and of all folders, each sorted; hidden ones are left out."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            UserError: it is not there, or cannot be read.
        """
        ...


class FolderFiles:
    """Files of a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> tuple[list[str], list[str]]:
        """Names of all files and folders; links to folders are followed."""
        files, folders = [], []
        for place, inner, names in os.walk(self.root, followlinks=True):
            inner[:] = sorted(name for name in inner if not _hidden(name))
            below = Path(place).relative_to(self.root)
            folders += [(below / name).as_posix() for name in inner]
            files += [(below / name).as_posix() for name in names if not _hidden(name)]
        return sorted(files), sorted(folders)

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        path = self.root / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise UserError("there is no such file", where=path, mend="check the name and the folder") from None
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=path, mend="check the file") from error


class ZipFiles:
    """Files of a zip archive, read where they lie; each process opens it for itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "_opened": None}

    def _archive(self) -> zipfile.ZipFile:
        # A forked process shares the place in the file with its parent: it needs a file of its own.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.root)
            except _BROKEN as error:
                what = f"this is no readable zip file ({error})"
                raise UserError(what, where=self.root, mend="copy it again, or unpack it") from error
        return self._opened[1]

    def listing(self) -> tuple[list[str], list[str]]:
        """Names of all files and folders, with those folders that only files speak of."""
        files, folders = [], set()
        for entry in self._archive().infolist():
            parts = PurePosixPath(entry.filename).parts
            if any(_hidden(part) or part == "__MACOSX" for part in parts):
                continue
            within = parts if entry.is_dir() else parts[:-1]
            folders |= {"/".join(within[: depth + 1]) for depth in range(len(within))}
            if not entry.is_dir():
                files.append(entry.filename)
        return sorted(files), sorted(folders)

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        try:
            return self._archive().read(name)
        except KeyError:
            raise UserError("there is no such file", where=self.root / name, mend="check the name") from None
        except _BROKEN as error:
            what = f"cannot be read ({error or type(error).__name__})"
            raise UserError(what, where=self.root / name, mend="make the archive again") from error

    def __del__(self) -> None:
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()


def open_files(path: Path) -> Files:
    """The files of a folder or zip archive.

    Raises:
        UserError: it is neither.
    """
    if path.is_dir():
        return FolderFiles(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return ZipFiles(path)
    if not path.exists():
        raise UserError("there is no such folder or file", where=path, mend="check the path of the data")
    raise UserError("this holds no classes of pictures", where=path, mend="name a folder, a zip of one, or a CSV file")


def pictures_of(files: list[str]) -> Iterator[str]:
    """Those of the names that are names of pictures."""
    return (name for name in files if is_picture(Path(name)))


def _hidden(name: str) -> bool:
    return name.startswith(".")
