"""Temporary folders, and the removal of those that killed processes left behind."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "trace-ocr-scratch-"
"""What the names of our folders begin with; no workspace or folder of users has such a name by chance."""

SETTLED_SECONDS = 60.0
"""Age in seconds below which a folder is left alone: its process may be about to lock it."""


@contextlib.contextmanager
def scratch_folder(place: str | None = None) -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; its path has no links.

    It is locked meanwhile, so that `sweep_scratch` knows that its process lives.

    Args:
        place: the folder to make it in; by default that of temporary files

    Raises:
        OSError: it cannot be made
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name:
        folder = Path(name).resolve()
        with _locked(folder):
            yield folder


def sweep_scratch() -> int:
    """Remove the scratch folders of killed processes of this user; return how many there were."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_settled(folder):
                with _locked(folder):
                    shutil.rmtree(folder)
                removed += 1
    return removed


def _is_settled(folder: Path) -> bool:
    found = folder.lstat()
    ours = folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid()
    return ours and time.time() - found.st_mtime > SETTLED_SECONDS


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder, or raise BlockingIOError if a process has; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
