"""Files are written whole or not at all."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sleuth.errors import UserError
from sleuth.files import atomic_folder, atomic_write, explain_os_error, make_folder


class CrashError(Exception):
    """Stands for any bug or interruption while writing."""


def put(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def put_half(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error


def fault(run) -> str:
    with pytest.raises(UserError) as caught:
        run()
    assert caught.value.mend
    assert len(caught.value.line().splitlines()) == 1
    return caught.value.line()


def test_a_new_file_and_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.json"
    put(path, "one")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_a_former_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    put(path, "a long first text")
    put(path, "two")
    assert path.read_text() == "two"


def test_the_temporary_file_is_a_neighbour_with_the_same_suffix(tmp_path: Path) -> None:
    """Renaming is atomic only within a file system, and writers choose the format by the suffix."""
    with atomic_write(tmp_path / "picture.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")


def test_readers_see_the_former_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    put(path, "one")
    with atomic_write(path) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"


@pytest.mark.parametrize("error", [CrashError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_former_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.json"
    put(path, "one")
    with pytest.raises(error):
        put_half(path, error)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_before_there_was_a_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        put_half(tmp_path / "out.json", CrashError)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_removes_its_file_is_told_the_truth(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out.json") as temporary:
        temporary.unlink()
    assert not list(tmp_path.iterdir())


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_grows_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    put(path, "one")
    with at_most(1000):
        line = fault(lambda: put(path, "x" * 100_000))
    assert "out.json: cannot write: the file would be larger" in line
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "no permission to write"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
@pytest.mark.parametrize("step", ["write", "fsync", "replace", "mkstemp"])
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, what: str, step: str
) -> None:
    path = tmp_path / "out.json"
    put(path, "one")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    where = {"write": "pathlib.Path.write_text", "fsync": "os.fsync", "replace": "pathlib.Path.replace"}
    with monkeypatch.context() as patch:
        patch.setattr(where.get(step, "tempfile.mkstemp"), refuse)
        line = fault(lambda: put(path, "two"))
    assert f"out.json: cannot write: {what}" in line
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def copy() -> None:
        with atomic_write(tmp_path / "out.json"), open("/dev/full", "w") as full:
            full.write("x" * 100_000)

    assert "the disk is full" in fault(copy)
    assert not list(tmp_path.iterdir())


def test_other_system_errors_are_not_explained_away(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"), atomic_write(tmp_path / "out.json"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert explain_os_error(OSError(errno.EIO, ""), tmp_path) is None


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    assert "this is a folder, not a file" in fault(lambda: put(tmp_path / "out.json", "x"))
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("deep", ["file/out.json", "file/sub/out.json"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, deep: str) -> None:
    (tmp_path / "file").write_text("I am in the way")
    assert "cannot write" in fault(lambda: put(tmp_path / deep, "x"))
    assert (tmp_path / "file").read_text() == "I am in the way"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "too long" in fault(lambda: put(tmp_path / ("n" * 300 + ".json"), "x"))


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    """Temporary files are private; the finished one must not be."""
    put(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    ours, plain = ((tmp_path / name).stat().st_mode for name in ("ours", "plain"))
    assert stat.S_IMODE(ours) == stat.S_IMODE(plain)


def test_make_folder(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("x")
    assert "a file of this name is in the way" in fault(lambda: make_folder(tmp_path / "file"))
    assert "a part of the path is a file" in fault(lambda: make_folder(tmp_path / "file" / "sub"))


def fill_half(path: Path, error: BaseException) -> None:
    with atomic_folder(path) as folder:
        (folder / "half.txt").write_text("half")
        raise error


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "new"
    with atomic_folder(place) as folder:
        (folder / "a.txt").write_text("a")
        assert not place.exists()
    assert [file.name for file in place.iterdir()] == ["a.txt"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o777 & ~_current_umask()
    assert [file.name for file in place.parent.iterdir()] == ["new"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    for error, expected in ((CrashError(), CrashError), (OSError(errno.ENOSPC, "full"), UserError)):
        with pytest.raises(expected):
            fill_half(tmp_path / "new", error)
        assert not list(tmp_path.iterdir())


def test_a_folder_takes_an_empty_place_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "empty" / "a.txt").read_text() == "a"
    for place, message in (("empty", "the folder is not empty"), ("empty/a.txt", "there is a file of this name")):
        with pytest.raises(UserError, match=message), atomic_folder(tmp_path / place):
            raise CrashError
    assert [file.name for file in tmp_path.rglob("*")] == ["empty", "a.txt"]


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
