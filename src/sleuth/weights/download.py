"""One file of the hub on this machine: downloaded, resumed where it broke off, and checked before it is used.

huggingface_hub names the file, says its size and checksum, and keeps the cache. What is downloaded lies in that cache
under a name of its own until its checksum is right: nobody ever finds half a file there.
"""

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sleuth.errors import UserError, UserWarningLine
from sleuth.files import atomic_write

_ATTEMPTS = 2
_PARTIAL = ".sleuth-partial"
_NO_HUB = "its answer is not that of a hub: a proxy, perhaps"
_CHUNK = 1 << 22
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_NETWORK_LIBRARIES = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


class UnreachableError(Exception):
    """The hub cannot be asked; the reason is for a message."""


class AbsentError(Exception):
    """The model is on the hub, but has no file of this name."""


@dataclass(frozen=True)
class Shelf:
    """Where a model's files come from and where they are kept.

    Args:
        repo: the model on the hub, such as ``facebook/detr-resnet-50``.
        revision: branch, tag or commit.
        endpoint: address of the hub; None for the one that huggingface_hub is set to.
        cache: folder of huggingface_hub's cache; None for the one that it is set to.
        commit: what the revision was found to be; None before it is asked for.
    """

    repo: str
    revision: str = "main"
    endpoint: str | None = None
    cache: Path | None = None
    commit: str | None = None

    @property
    def at(self) -> str:
        """The commit if it is known, else the revision."""
        return self.commit or self.revision

    @property
    def name(self) -> str:
        """The model and its revision, as a user writes them."""
        return self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"

    @property
    def folder(self) -> Path:
        """The model's own folder in the cache."""
        from huggingface_hub import constants

        return (self.cache or Path(constants.HF_HUB_CACHE)).expanduser() / f"models--{self.repo.replace('/', '--')}"


def commit_of(shelf: Shelf, file: str) -> str:
    """The commit that a revision is at present, by asking for one of its files.

    Raises:
        AbsentError: the model has no such file.
        UnreachableError: the hub cannot be asked.
        UserError: no such model or revision, or no access to it.
    """
    return _ask(shelf, file).commit


def cached(shelf: Shelf, file: str) -> Path | None:
    """A file that is in the cache already; None if it is not. Of a branch, as it was when last asked for."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(shelf.repo, file, cache_dir=shelf.cache, revision=shelf.at)
    return Path(found) if isinstance(found, str) else None


def check_cached(path: Path, shelf: Shelf) -> None:
    """Compare a cached file with the checksum that it is kept under.

    Raises:
        UserError: they differ.
    """
    checksum = _blob_of(path).name
    if not _is_sound(path, checksum):
        what = f"{path.name} of {shelf.name} is damaged: its checksum is not {checksum[:12]}..."
        raise UserError(what, where=path, mend="load the model once with a network, and it is downloaded again")


def fetch(shelf: Shelf, file: str) -> Path:
    """A file of the hub: from the cache if it is there and sound, else downloaded.

    Args:
        shelf: with a commit, so that all files are of one state of the model.
        file: its name.

    Raises:
        AbsentError: the model has no such file.
        UnreachableError: the hub cannot be asked.
        UserError: no access to it, or the download failed.
    """
    from huggingface_hub import hf_hub_download

    here = cached(shelf, file)
    if here is not None:
        if _is_sound(here, _blob_of(here).name):
            return here
        line = f"{here}: {file} of {shelf.name} is damaged (its checksum is wrong); it is downloaded again"
        warnings.warn(UserWarningLine(line), stacklevel=2)
    found = _ask(shelf, file)
    with _explained(shelf, file, downloading=True), _quiet():
        if here is not None:
            for path in (_blob_of(here), here):
                path.unlink(missing_ok=True)
        blob = shelf.folder / "blobs" / found.checksum
        if not _is_sound(blob, found.checksum):
            _download(found, blob, shelf, file)
        # The blob is there: this only links it into the snapshot.
        linked = hf_hub_download(shelf.repo, file, revision=shelf.at, endpoint=shelf.endpoint, cache_dir=shelf.cache)
        return Path(linked)


def keep_revision(shelf: Shelf, commit: str) -> None:
    """Note which commit a branch or tag was, now that all its files are there: offline, that one is taken."""
    if shelf.revision == commit:
        return
    note = shelf.folder / "refs" / shelf.revision
    with suppress(OSError):  # a cache that may only be read
        if note.is_file() and note.read_text() == commit:
            return
        with atomic_write(note) as temporary:
            temporary.write_text(commit)


@dataclass(frozen=True)
class _Found:
    """What the hub says about a file."""

    url: str
    commit: str
    checksum: str
    size: int | None
    elsewhere: bool


def _ask(shelf: Shelf, file: str) -> _Found:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(shelf.repo, file, revision=shelf.at, endpoint=shelf.endpoint)
    with _explained(shelf, file, downloading=False), _quiet():
        found = get_hf_file_metadata(url, endpoint=shelf.endpoint)
    if found.etag is None or found.commit_hash is None:
        raise UnreachableError(_NO_HUB)
    elsewhere = urlsplit(found.location).netloc != urlsplit(url).netloc
    return _Found(found.location, found.commit_hash, found.etag, found.size, elsewhere)


def _download(found: _Found, blob: Path, shelf: Shelf, file: str) -> None:
    """Write a blob of the cache, going on from what an earlier attempt left.

    Raises:
        UserError: what arrived has another checksum, twice.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers()
    if found.elsewhere:  # a signed address of another host: the user's token is none of its business
        headers.pop("authorization", None)
    partial = blob.with_name(f"{blob.name}{_PARTIAL}")
    lock = blob.parent.parent.parent / ".locks" / blob.parent.parent.name / f"{blob.name}.sleuth.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        for _ in range(_ATTEMPTS):
            if _is_sound(blob, found.checksum):  # somebody else was faster
                return
            have = partial.stat().st_size if partial.is_file() else 0
            if not found.size or have > found.size or not _SHA256.fullmatch(found.checksum):
                # Small files come packed, in pieces that do not add up.
                partial.unlink(missing_ok=True)
                have = 0
            with partial.open("ab") as target:
                http_get(
                    found.url,
                    target,
                    resume_size=have,
                    headers=headers,
                    expected_size=found.size,
                    displayed_filename=file,
                )
            if _is_sound(partial, found.checksum):
                partial.replace(blob)
                return
            partial.unlink()
    what = f"{file} of {shelf.name} arrived damaged twice: its checksum is not {found.checksum[:12]}..."
    raise UserError(what, mend="try again later, or through another network")


def _blob_of(path: Path) -> Path:
    """What a file of a snapshot links to: it is named by its checksum, and may itself link to a store of all models."""
    return path.parent / path.readlink() if path.is_symlink() else path


def _is_sound(path: Path, checksum: str) -> bool:
    """Whether a file is there and has the checksum that the hub states: SHA-256, or git's for small files."""
    if not path.is_file():
        return False
    if _SHA256.fullmatch(checksum):
        digest = hashlib.sha256()
    elif _GIT_SHA1.fullmatch(checksum):
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True  # no checksum to compare with
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == checksum


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what huggingface_hub logs on the way: what matters is said in the end, in one line."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _explained(shelf: Shelf, file: str, *, downloading: bool) -> Iterator[None]:
    """Turn what goes wrong with the hub into what the user can do."""
    from huggingface_hub import errors

    page = f"the model's page on the hub, {shelf.repo},"
    try:
        yield
    except errors.GatedRepoError as error:
        what = f"the model {shelf.repo!r} is gated: its owner lets only some people have it"
        raise UserError(what, mend=f"ask for it on {page} then log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        what = f"the model {shelf.repo!r} has no revision {shelf.revision!r}"
        raise UserError(what, mend="name one of its branches, tags or commits after the @") from error
    except errors.RepositoryNotFoundError as error:
        what = f"the hub knows no model {shelf.repo!r}, or it is private"
        raise UserError(what, mend="check the name; for a private model log in with `hf auth login`") from error
    except errors.LocalEntryNotFoundError as error:
        raise UnreachableError("there is no connection") from error
    except errors.EntryNotFoundError as error:
        raise AbsentError(file) from error
    except errors.OfflineModeIsEnabled as error:
        raise UnreachableError("HF_HUB_OFFLINE is set") from error
    except errors.FileMetadataError as error:
        raise UnreachableError(_NO_HUB) from error
    except errors.HfHubHTTPError as error:
        raise _by_status(error.response.status_code, shelf) from error
    except OSError as error:
        raise _by_errno(error, shelf, file, downloading=downloading) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _NETWORK_LIBRARIES:
            raise
        raise (_broken_off(shelf, file) if downloading else UnreachableError("there is no connection")) from error


def _by_status(status: int, shelf: Shelf) -> Exception:
    if status in (401, 403):
        what = f"the hub refuses {shelf.repo!r} ({status}): your access token is wrong or may not read it"
        return UserError(what, mend="log in again with `hf auth login`")
    if status == 404:
        return UserError(f"the hub knows no model {shelf.repo!r}", mend="check the name")
    return UnreachableError(f"it answers with error {status}")


def _by_errno(error: OSError, shelf: Shelf, file: str, *, downloading: bool) -> Exception:
    if error.errno is None or isinstance(error, TimeoutError | ConnectionError):
        # Without a number, it is huggingface_hub's word for a file that came too short.
        return _broken_off(shelf, file) if downloading else UnreachableError("there is no connection")
    for partial in shelf.folder.glob(f"blobs/*{_PARTIAL}"):
        with suppress(OSError):
            partial.unlink()
    what = f"cannot keep {file} of {shelf.name}: {(error.strerror or str(error)).lower()}"
    return UserError(what, where=shelf.folder, mend="make room there, or set HF_HOME to another folder")


def _broken_off(shelf: Shelf, file: str) -> UserError:
    what = f"the download of {file} of {shelf.name} broke off"
    return UserError(what, mend="give the same command again: it goes on where it stopped")
