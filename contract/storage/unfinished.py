"""Local files that are being written: temporary names next to the final ones."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from contract.errors import NotAFileError
from contract.storage.local_errors import translated
from contract.storage.opening import make_folder

TEMPORARY_SUFFIX = ".tmp"
"""Suffix of unfinished files; they are hidden, never listed, and swept when their job ends."""

OURS = re.compile(r"\.(.+)\.[0-9]+-[0-9a-f]{8}\.tmp")
"""The names of unfinished files, with their final names."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True)
class Unfinished:
    """A temporary file next to its final name; both are names in `folder`, an open descriptor."""

    folder: int
    temporary: str
    final: str

    def open(self) -> IO[bytes]:
        """Make the file and open it for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.temporary, flags, 0o666, dir_fd=self.folder), "wb")

    def link(self) -> bool:
        """Give the file its final name too, unless that is taken; return whether it was free."""
        try:
            os.link(
                self.temporary,
                self.final,
                src_dir_fd=self.folder,
                dst_dir_fd=self.folder,
                follow_symlinks=False,
            )
        except (FileExistsError, FileNotFoundError):
            # Not found: the job has ended and its sweep removed our temporary file; the part exists.
            if self._is_taken():
                return False
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # File systems without hard links (some FUSE mounts): a rename is atomic too, but the last
            # writer wins. Both wrote the same lines, so the result is the same.
            if self._is_taken():
                return False
            self.rename()
            return True
        os.fsync(self.folder)
        return True

    def rename(self) -> None:
        """Give the file its final name instead; it replaces a file of that name."""
        os.replace(self.temporary, self.final, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        os.fsync(self.folder)

    def remove(self) -> None:
        """Remove the temporary name, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temporary, dir_fd=self.folder)

    def _is_taken(self) -> bool:
        try:
            os.stat(self.final, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


@contextlib.contextmanager
def unfinished(uri: str) -> Iterator[Unfinished]:
    """Yield a new temporary file; its folder is made if it is missing.

    Raises:
        NotAFileError: a file or a link stands for a folder of the path
    """
    folder, name = folder_and_name(uri)
    try:
        descriptor = make_folder(folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotAFileError(
                f"{folder} is no folder, or a link is on its path, which is not followed: remove it"
            ) from error
        raise
    temporary = f".{name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    written = Unfinished(descriptor, temporary, name)
    try:
        yield written
    finally:
        written.remove()
        os.close(descriptor)


def folder_and_name(uri: str) -> tuple[str, str]:
    """Return the folder of a path, and the name in it."""
    folder, slash, name = uri.rpartition("/")
    return folder or slash or ".", name


def is_left(name: str, ours: Callable[[str], bool]) -> bool:
    """Return whether a file is unfinished, and will be a file of ours."""
    match = OURS.fullmatch(name)
    return match is not None and ours(match[1])


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; other processes of this machine wait for it, and it ends with its process."""
    with translated(str(folder)):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some mounts have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync(file: IO[bytes]) -> None:
    """Wait until the file's bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())
