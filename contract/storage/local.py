"""Local folders: every write is a temporary file, an fsync, and one rename or link."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from contract.errors import (
    AccessDeniedError,
    NotAFileError,
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.storage.base import OnRequest, Store, Version, finds
from contract.storage.opening import make_folder, open_folder, open_regular, size_of, status_of
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from contract.settings import Settings

TEMPORARY_SUFFIX = ".tmp"
"""Suffix of unfinished files; they are hidden, never listed, and swept when their job ends."""

SMALL_BYTES, LARGE_BYTES = 1 << 12, 1 << 22
"""Minimum bytes of the first read, of a file that has grown or has no size, and of each further read."""

_OURS = re.compile(r"\.(.+)\.[0-9]+-[0-9a-f]{8}\.tmp")

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """A `contract.storage.Store` over the file system.

    No link on a path is followed: callers resolve a path that may have links with `absolute` first.
    """

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole file; reads at most one byte more than `limit`."""
        try:
            data = _read(uri, limit + 1)
        except (OSError, ValueError):
            with _translated(uri):
                raise
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
        with _translated(uri), _unfinished(uri) as unfinished:
            with unfinished.open() as file:
                file.write(data)
                _sync(file)
            try:
                unfinished.link()
            except (FileExistsError, FileNotFoundError):
                # Not found: the job has ended and its sweep removed our temporary file; the part exists.
                if unfinished.is_taken():
                    return False
                raise
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # File systems without hard links (some FUSE mounts): a rename is atomic too, but the last
                # writer wins. Both wrote the same lines, so the result is the same.
                if unfinished.is_taken():
                    return False
                unfinished.rename()
            os.fsync(unfinished.folder)
        return True

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        """Replace the file if it still holds `old`; a lock on its folder keeps other exchanges out."""
        with _locked(Path(uri).parent):
            if self.read_range(uri, 0, len(old) + 1) != old:
                return False
            self.replace(uri, new)
        return True

    def delete(self, uri: str) -> None:
        """Remove the file if it exists; of a link, the link."""
        folder, name = _split(uri)
        with contextlib.suppress(ObjectMissingError), _translated(uri), _opened_folder(folder) as descriptor:
            os.unlink(name, dir_fd=descriptor)

    def exists(self, uri: str) -> bool:
        """Return whether the file exists."""
        return finds(lambda: self.size(uri))

    def size(self, uri: str) -> int:
        """Return the file's length in bytes."""
        with _translated(uri):
            return size_of(uri)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the finished files directly in the folder."""
        with contextlib.suppress(FolderMissingError), _entries(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.endswith(TEMPORARY_SUFFIX):
                    yield entry.name

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (path, size in bytes) of every finished file below the folder, sorted by path.

        Only the names of the folders on the current path are in memory. What is neither a regular file nor a
        folder is listed with 0 bytes: reading it is an error, and not a silent gap.
        """
        try:
            with _entries(folder) as entries:
                found = sorted(filter(None, map(_listed, entries)))
        except FolderMissingError:
            return
        for name, size in found:
            uri = f"{folder.rstrip('/')}/{name}"
            if size is None:
                yield from self.objects(uri)
            else:
                yield uri, size

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        """Yield (path, version) of every finished file below the folder, without files removed meanwhile."""
        for uri, _ in self.objects(folder):
            with contextlib.suppress(ObjectMissingError):
                yield uri, self.version(uri)

    def version(self, uri: str) -> Version:
        """Return the file's version; file systems have no etag."""
        with _translated(uri):
            status = status_of(uri)
        return Version(status.st_size, status.st_mtime_ns)

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        """Remove the temporary files of writers that died."""
        try:
            with _translated(folder), _opened_folder(folder) as descriptor:
                with os.scandir(descriptor) as entries:
                    left = [entry.name for entry in entries if _is_left(entry.name, ours)]
                for name in left:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descriptor)
        except ObjectMissingError:
            return 0
        return len(left)

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the file for reading from byte `start`."""
        with _translated(uri):
            descriptor, _ = open_regular(uri)
            file = os.fdopen(descriptor, "rb")
        with file:
            file.seek(start)
            yield TranslatedStream(file, lambda: _translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open a temporary file that is renamed to the final name at the end."""
        with contextlib.ExitStack() as stack:
            with _translated(uri):
                unfinished = stack.enter_context(_unfinished(uri))
                file = stack.enter_context(unfinished.open())
            yield TranslatedStream(file, lambda: _translated(uri))
            with _translated(uri), file:
                _sync(file)
            with _translated(uri):
                unfinished.rename()
                os.fsync(unfinished.folder)

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
    read_only = False

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


class FolderMissingError(ObjectMissingError):
    """There is no folder to list, or a link stands for it or above it."""


@dataclass(frozen=True)
class _Unfinished:
    """A temporary file next to its final name; both are names in `folder`, an open descriptor."""

    folder: int
    temporary: str
    final: str

    def open(self) -> IO[bytes]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.temporary, flags, 0o666, dir_fd=self.folder), "wb")

    def link(self) -> None:
        os.link(
            self.temporary,
            self.final,
            src_dir_fd=self.folder,
            dst_dir_fd=self.folder,
            follow_symlinks=False,
        )

    def rename(self) -> None:
        os.replace(self.temporary, self.final, src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def is_taken(self) -> bool:
        try:
            os.stat(self.final, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temporary, dir_fd=self.folder)


@contextlib.contextmanager
def _unfinished(uri: str) -> Iterator[_Unfinished]:
    """Yield a new temporary file; its folder is made if it is missing.

    Raises:
        NotAFileError: a file or a link stands for a folder of the path
    """
    folder, name = _split(uri)
    try:
        descriptor = make_folder(folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotAFileError(
                f"{folder} is no folder, or a link is on its path, which is not followed: remove it"
            ) from error
        raise
    temporary = f".{name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    unfinished = _Unfinished(descriptor, temporary, name)
    try:
        yield unfinished
    finally:
        unfinished.remove()
        os.close(descriptor)


@contextlib.contextmanager
def _opened_folder(path: str) -> Iterator[int]:
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Yield the entries of a folder; raises FolderMissingError, and storage errors."""
    try:
        with _opened_folder(folder) as descriptor, os.scandir(descriptor) as entries:
            yield entries
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise FolderMissingError(f"there is no folder {folder}") from error
        raise _translate(folder, error) from error
    except ValueError as error:
        raise FolderMissingError(f"{folder!r} cannot be the name of a folder: {error}") from error


def _split(uri: str) -> tuple[str, str]:
    """Return the folder of a path, and the name in it."""
    folder, slash, name = uri.rpartition("/")
    return folder or slash or ".", name


def _listed(entry: os.DirEntry[str]) -> tuple[str, int | None] | None:
    """Return an entry's name and size; a folder's name ends in a slash, for sorting, and has no size."""
    if entry.is_dir(follow_symlinks=False):
        return entry.name + "/", None
    if _OURS.fullmatch(entry.name):
        return None
    with contextlib.suppress(FileNotFoundError):  # removed since the folder was read
        if entry.is_file(follow_symlinks=False):
            return entry.name, entry.stat(follow_symlinks=False).st_size
    return entry.name, 0


def _is_left(name: str, ours: Callable[[str], bool]) -> bool:
    match = _OURS.fullmatch(name)
    return match is not None and ours(match[1])


def _read(uri: str, limit: int) -> bytes:
    """Return up to `limit` bytes; four system calls for a small file, where Python's file objects take nine.

    Each call releases the GIL, and with other threads running, taking it back is what takes long.
    """
    descriptor, size = open_regular(uri)
    try:
        part = os.read(descriptor, min(limit, max(size + 1, SMALL_BYTES)))
        if len(part) == size or len(part) == limit:
            return part
        parts, left = [part], limit - len(part)
        # The size is only known to be right if all of it has come: network mounts return less than was asked
        # for, some files have no size, and others grow. Then only an empty read is the end.
        while left and (part := os.read(descriptor, min(left, LARGE_BYTES))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; other processes of this machine wait for it, and it ends with its process."""
    with _translated(str(folder)):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some mounts have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


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
        linked = " (a link on its path is not followed)" if error.errno == errno.ELOOP else ""
        return ObjectMissingError(f"there is no file {uri}{linked}")
    if error.errno in _DENIED:
        return AccessDeniedError(f"access to {uri} is denied ({error.strerror}): check its owner and mode")
    return StorageUnavailableError(f"{uri}: {error.strerror or error}")
