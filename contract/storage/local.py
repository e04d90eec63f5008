"""Local folders: every write is a temporary file, an fsync, and one rename or link."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import ObjectMissingError, TooManyBytesError, UnsupportedUriError
from contract.storage.base import OnRequest, Store, Version, finds
from contract.storage.local_errors import translated
from contract.storage.local_listing import FolderMissingError, entries_of, listed
from contract.storage.opening import open_regular, opened_folder, size_of, status_of
from contract.storage.streams import TranslatedStream
from contract.storage.unfinished import (
    TEMPORARY_SUFFIX,
    folder_and_name,
    is_left,
    locked,
    sync,
    unfinished,
)

if TYPE_CHECKING:
    from contract.settings import Settings

SMALL_BYTES, LARGE_BYTES = 1 << 12, 1 << 22
"""Minimum bytes of the first read, of a file that has grown or has no size, and of each further read."""


class LocalStore:
    """A `contract.storage.Store` over the file system.

    No link on a path is followed: callers resolve a path that may have links with `absolute` first.
    """

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole file; reads at most one byte more than `limit`."""
        try:
            data = _read(uri, limit + 1)
        except (OSError, ValueError):
            with translated(uri):
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
        with translated(uri), unfinished(uri) as written:
            with written.open() as file:
                file.write(data)
                sync(file)
            return written.link()

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        """Replace the file if it still holds `old`; a lock on its folder keeps other exchanges out."""
        with locked(Path(uri).parent):
            if self.read_range(uri, 0, len(old) + 1) != old:
                return False
            self.replace(uri, new)
        return True

    def delete(self, uri: str) -> None:
        """Remove the file if it exists; of a link, the link."""
        folder, name = folder_and_name(uri)
        with contextlib.suppress(ObjectMissingError), translated(uri), opened_folder(folder) as descriptor:
            os.unlink(name, dir_fd=descriptor)

    def exists(self, uri: str) -> bool:
        """Return whether the file exists."""
        return finds(lambda: self.size(uri))

    def size(self, uri: str) -> int:
        """Return the file's length in bytes."""
        with translated(uri):
            return size_of(uri)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the finished files directly in the folder."""
        with contextlib.suppress(FolderMissingError), entries_of(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.endswith(TEMPORARY_SUFFIX):
                    yield entry.name

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (path, size in bytes) of every finished file below the folder, sorted by path.

        Only the names of the folders on the current path are in memory. What is neither a regular file nor a
        folder is listed with 0 bytes: reading it is an error, and not a silent gap.
        """
        try:
            with entries_of(folder) as entries:
                found = sorted(filter(None, map(listed, entries)))
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
        with translated(uri):
            status = status_of(uri)
        return Version(status.st_size, status.st_mtime_ns)

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        """Remove the temporary files of writers that died."""
        try:
            with translated(folder), opened_folder(folder) as descriptor:
                with os.scandir(descriptor) as entries:
                    left = [entry.name for entry in entries if is_left(entry.name, ours)]
                for name in left:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descriptor)
        except ObjectMissingError:
            return 0
        return len(left)

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the file for reading from byte `start`."""
        with translated(uri):
            descriptor, _ = open_regular(uri)
            file = os.fdopen(descriptor, "rb")
        with file:
            file.seek(start)
            yield TranslatedStream(file, lambda: translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open a temporary file that is renamed to the final name at the end."""
        with contextlib.ExitStack() as stack:
            with translated(uri):
                written = stack.enter_context(unfinished(uri))
                file = stack.enter_context(written.open())
            yield TranslatedStream(file, lambda: translated(uri))
            with translated(uri), file:
                sync(file)
            with translated(uri):
                written.rename()

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
