"""Folders: every write is a temporary file, an fsync, and one rename or link."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from contract.errors import (
    AccessDeniedError,
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
)
from contract.storage.streams import TranslatedStream

TEMPORARY_SUFFIX = ".tmp"
"""Marks unfinished files; they are hidden, never listed, and swept when their job ends."""

SMALL_BYTES, LARGE_BYTES = 1 << 16, 1 << 22
"""Bytes asked for in the first read, which is all that a crop has, and in each further one."""

_OURS = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp")

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """A `contract.storage.Store` over the file system."""

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole file; at most `limit` bytes are ever read."""
        with _translated(uri):
            data = _read(uri, limit + 1)
        if len(data) > limit:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def replace(self, uri: str, data: bytes) -> None:
        """Write the file whole or not at all."""
        with self.writer(uri) as file:
            file.write(data)

    def create(self, uri: str, data: bytes) -> bool:
        """Write the file unless there is one: linking the finished file in fails if the name is taken."""
        path = Path(uri)
        with _translated(uri), _temporary(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                _sync(file)
            try:
                os.link(temporary, path)
            except (FileExistsError, FileNotFoundError):
                # Not found: the job has ended and its sweep took our temporary file; the part is there.
                if path.exists():
                    return False
                raise
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # File systems without hard links (some FUSE mounts): a rename is as atomic, but the last
                # writer wins; both wrote the same lines, so nothing differs.
                if path.exists():
                    return False
                temporary.replace(path)
            _sync_folder(path.parent)
        return True

    def delete(self, uri: str) -> None:
        """Remove the file if it is there."""
        with _translated(uri):
            Path(uri).unlink(missing_ok=True)

    def exists(self, uri: str) -> bool:
        """Return whether there is a file."""
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

    def sweep(self, folder: str) -> int:
        """Remove the temporary files of writers that died."""
        left = [path for path in Path(folder).glob(f".*{TEMPORARY_SUFFIX}") if _OURS.fullmatch(path.name)]
        with _translated(folder):
            for path in left:
                path.unlink(missing_ok=True)
        return len(left)

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the file for reading, from a byte on."""
        with _translated(uri):
            file = Path(uri).open("rb")  # noqa: SIM115 - closed by the with below
        with file:
            file.seek(start)
            yield TranslatedStream(file, lambda: _translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open a temporary file that takes the final name at the end."""
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


def _read(uri: str, limit: int) -> bytes:
    """Return up to `limit` bytes; three system calls for a small file, where Python's own files take nine.

    Each call lets go of the interpreter, and beside other threads it is the getting back that takes long.
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
    """Make a new name survive a power cut: the entry lives in the folder, which has its own fsync."""
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
    except ValueError as error:  # an embedded NUL byte: no file can have that name
        raise ObjectMissingError(f"{uri!r} can be no file's name: {error}") from error


def _translate(uri: str, error: OSError) -> StorageError:
    if error.errno in _MISSING:
        return ObjectMissingError(f"there is no file {uri}")
    if error.errno in _DENIED:
        return AccessDeniedError(f"access to {uri} is denied ({error.strerror}): check its owner and mode")
    return StorageUnavailableError(f"{uri}: {error.strerror or error}")
