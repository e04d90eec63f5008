"""Open files and folders without following a link anywhere on their path, and regular files only.

A path is resolved and compared with the allowed roots first. What is opened then is what was compared: a
link that appears on the path in between is an error. Linux's openat2(2) does this in one call. Where it is
missing, each folder of the path is opened within the one before.
"""

import contextlib
import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from contract.errors import NotAFileError

OPENAT2, AT_FDCWD, RESOLVE_NO_SYMLINKS = 437, -100, 0x04
"""From Linux's <asm/unistd.h>, <fcntl.h> and <linux/openat2.h>."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Flags to read a file; O_NONBLOCK, or opening a pipe would wait for its writer."""

FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
"""Flags to list a folder and to write in it."""

LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC
"""Flags to look at a file or to pass through a folder, which need not be readable."""

Open = Callable[[str, int], int]
"""(path, flags): returns a descriptor; ELOOP for a link on the path."""


class _OpenHow(ctypes.Structure):
    """`struct open_how` of <linux/openat2.h>."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_regular(path: str) -> tuple[int, int]:
    """Return a descriptor of a regular file, for reading, and the file's length in bytes.

    Raises:
        NotAFileError: it is a folder, a pipe, a socket or a device
        OSError: as open(2), and ELOOP for a link on the path
        ValueError: the path cannot be a file's name
    """
    try:
        descriptor = _opener()(path, READ)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_a_file(path) from error
        raise
    return _regular(descriptor, path)


def open_within(folder: int, name: str) -> tuple[int, int]:
    """Return as `open_regular`, for a name without slashes in a folder that `pass_folder` has opened."""
    return _regular(os.open(name, READ | os.O_NOFOLLOW, dir_fd=folder), name)


def pass_folder(path: str) -> int:
    """Return a descriptor of a folder to open files in; raises as `open_folder`."""
    return _opener()(path, LOOK)


def _regular(descriptor: int, path: str) -> tuple[int, int]:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _not_a_file(path)
    return descriptor, found.st_size


def size_of(path: str) -> int:
    """Return a regular file's length in bytes; raises as `status_of`."""
    return status_of(path).st_size


def status_of(path: str) -> os.stat_result:
    """Return a regular file's status; raises as `open_regular`. The file need not be readable."""
    descriptor = _opener()(path, LOOK)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _not_a_file(path)
    return found


def open_folder(path: str) -> int:
    """Return a descriptor of a folder; raises OSError, and ELOOP for a link on the path."""
    return _opener()(path, FOLDER)


@contextlib.contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """Yield a descriptor of a folder; raises as `open_folder`."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(path: str) -> int:
    """Return a descriptor of a folder, which is made with its parents if it is missing; raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return open_folder(path)
    parent, slash, name = path.rstrip("/").rpartition("/")
    above = make_folder(parent or slash or ".")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        return _within(above, name, FOLDER)
    finally:
        os.close(above)


@contextlib.contextmanager
def pinned(path: Path) -> Iterator[Path]:
    """Yield a name of a regular file for libraries that open files by name; raises as `open_regular`.

    On Linux the name leads to the file that was opened here, whatever happens to its path.
    """
    descriptor, _ = open_regular(os.fspath(path))
    try:
        opened = Path(f"/proc/self/fd/{descriptor}")
        yield opened if opened.exists() else path
    finally:
        os.close(descriptor)


def _not_a_file(path: str) -> NotAFileError:
    return NotAFileError(f"{path} is a folder, a pipe, a socket or a device: only regular files are read")


@functools.cache
def _opener() -> Open:
    """Return the way of this machine to open a path: its kernel or its sandbox may lack openat2."""
    if sys.platform == "linux":
        by_one_call = _openat2()
        with contextlib.suppress(OSError):
            os.close(by_one_call("/", FOLDER))
            return by_one_call
    return _step_by_step


def _openat2() -> Open:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
    call.restype = ctypes.c_long
    size = ctypes.sizeof(_OpenHow)
    how = {flags: _OpenHow(flags, 0, RESOLVE_NO_SYMLINKS) for flags in (READ, FOLDER, LOOK)}

    def opened(path: str, flags: int) -> int:
        name = os.fsencode(path)
        if b"\0" in name:
            raise ValueError("embedded null byte")
        while True:
            descriptor: int = call(OPENAT2, AT_FDCWD, name, how[flags], size)
            if descriptor >= 0:
                return descriptor
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number), path)

    return opened


def _step_by_step(path: str, flags: int) -> int:
    *folders, name = [part for part in path.split("/") if part not in ("", ".")] or ["."]
    folder = os.open("/" if path.startswith("/") else ".", LOOK | os.O_DIRECTORY)
    try:
        for part in folders:
            inner = _within(folder, part, LOOK | os.O_DIRECTORY)
            os.close(folder)
            folder = inner
        return _within(folder, name, flags)
    finally:
        os.close(folder)


def _within(folder: int, name: str, flags: int) -> int:
    """Open a name in an open folder; raises ELOOP for a link, whatever the flags make of it."""
    try:
        descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return descriptor
