"""Local folders: every write is a temporary file, an fsync, and one rename or link."""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from contract.errors import (
    AccessDeniedError,
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.storage.base import OnRequest, Store
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from contract.settings import Settings

TEMPORARY_SUFFIX = ".tmp"
"""Suffix of unfinished files; they are hidden, never listed, and swept when their job ends."""

SMALL_BYTES, LARGE_BYTES = 1 << 16, 1 << 22
"""Bytes of the first read, enough for a whole crop, and of each further read."""

_OURS = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp")

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """A `contract.storage.Store` over the file system."""

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole file; reads at most one byte more than `limit`."""
        with _translated(uri):
            data = _read(uri, limit + 1)
        if len(data) > limit:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`."""
        with self.reader(uri, start) as file:
            return file.read(length)

    def replace(self, uri: str, data: bytes) -> None:
        """Write the file atomically."""
        with self.writer(uri) as file:
            file.write(data)

    def create(self, uri: str, data: bytes) -> bool:
        """Write the file unless it exists: linking the finished file fails if the name is taken."""
        path = Path(uri)
        with _translated(uri), _temporary(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                _sync(file)
            try:
                os.link(temporary, path)
            except (FileExistsError, FileNotFoundError):
                # Not found: the job has ended and its sweep removed our temporary file; the part exists.
                if path.exists():
                    return False
                raise
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # File systems without hard links (some FUSE mounts): a rename is atomic too, but the last
                # writer wins. Both wrote the same lines, so the result is the same.
                if path.exists():
                    return False
                temporary.replace(path)
            _sync_folder(path.parent)
        return True

    def delete(self, uri: str) -> None:
        """Remove the file if it exists."""
        with _translated(uri):
            Path(uri).unlink(missing_ok=True)

    def exists(self, uri: str) -> bool:
        """Return whether the file exists."""
        return Path(uri).is_file()

    def size(self, uri: str) -> int:
        """Return the file's length in bytes."""
        with _translated(uri):
            return Path(uri).stat().st_size

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the finished files directly in the folder."""
        try:
            with os.scandir(folder) as entries:
                yield from (entry.name for entry in entries if not entry.name.endswith(TEMPORARY_SUFFIX))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _translate(folder, error) from error

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (path, size in bytes) of every finished file below the folder, sorted by path.

        Only the names of the folders on the current path are in memory. Links to files are followed; links to
        folders are not, since they may form a cycle.
        """
        with _translated(folder):
            try:
                with os.scandir(folder) as entries:
                    found = sorted(filter(None, map(_listed, entries)))
            except FileNotFoundError:
                return
        for name, size in found:
            uri = f"{folder.rstrip('/')}/{name}"
            if size is None:
                yield from self.objects(uri)
            else:
                yield uri, size

    def sweep(self, folder: str) -> int:
        """Remove the temporary files of writers that died."""
        left = [path for path in Path(folder).glob(f".*{TEMPORARY_SUFFIX}") if _OURS.fullmatch(path.name)]
        with _translated(folder):
            for path in left:
                path.unlink(missing_ok=True)
        return len(left)

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the file for reading from byte `start`."""
        with _translated(uri):
            file = Path(uri).open("rb")  # noqa: SIM115 - closed by the with below
        with file:
            file.seek(start)
            yield TranslatedStream(file, lambda: _translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open a temporary file that is renamed to the final name at the end."""
        path = Path(uri)
        with contextlib.ExitStack() as stack:
            with _translated(uri):
                temporary = stack.enter_context(_temporary(path))
                file = stack.enter_context(temporary.open("wb"))
            yield TranslatedStream(file, lambda: _translated(uri))
            with _translated(uri), file:
                _sync(file)
            with _translated(uri):
                temporary.replace(path)
                _sync_folder(path.parent)

    @contextlib.contextmanager
    def local_copy(self, uri: str) -> Iterator[Path]:
        """Yield the file's own path.

        It is opened once here, because decoders report a file without read permission as damaged.
        """
        with self.reader(uri):
            pass
        yield Path(uri)


class LocalBackend:
    """Local and mounted files; a `contract.storage.Backend`."""

    remote = False

    def absolute(self, uri: str) -> str:
        """Return the real path, with every symbolic link followed."""
        try:
            return os.path.realpath(uri)
        except ValueError as error:
            raise UnsupportedUriError(f"{uri!r} cannot be the name of a file: {error}") from error

    def store(self, _settings: "Settings", _on_request: OnRequest | None) -> Store:
        """Return the store of all paths."""
        return LocalStore()


BACKEND = LocalBackend()


def _listed(entry: os.DirEntry[str]) -> tuple[str, int | None] | None:
    """Return an entry's name and size; a folder's name ends in a slash, for sorting, and has no size."""
    if entry.is_dir(follow_symlinks=False):
        return entry.name + "/", None
    try:
        found = entry.stat()
    except OSError:
        # A broken link is listed, so that reading it is an error and not a silent gap.
        return entry.name, 0
    if not stat.S_ISREG(found.st_mode) or _OURS.fullmatch(entry.name):
        return None
    return entry.name, found.st_size


def _read(uri: str, limit: int) -> bytes:
    """Return up to `limit` bytes; three system calls for a small file, where Python's file objects take nine.

    Each call releases the GIL, and with other threads running, taking it back is what takes long.
    """
    descriptor = os.open(uri, os.O_RDONLY)
    try:
        data = os.read(descriptor, min(limit, SMALL_BYTES))
        if len(data) < min(limit, SMALL_BYTES):
            return data
        parts = [data]
        while (left := limit - sum(map(len, parts))) and (
            part := os.read(descriptor, min(left, LARGE_BYTES))
        ):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power failure: the folder holds the entry, and needs its own fsync."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(uri, error) from error
    except ValueError as error:  # an embedded NUL byte: not a possible file name
        raise ObjectMissingError(f"{uri!r} cannot be the name of a file: {error}") from error


def _translate(uri: str, error: OSError) -> StorageError:
    if error.errno in _MISSING:
        return ObjectMissingError(f"there is no file {uri}")
    if error.errno in _DENIED:
        return AccessDeniedError(f"access to {uri} is denied ({error.strerror}): check its owner and mode")
    return StorageUnavailableError(f"{uri}: {error.strerror or error}")
