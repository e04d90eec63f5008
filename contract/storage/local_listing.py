"""The entries of local folders."""

import contextlib
import errno
import os
from collections.abc import Iterator

from contract.errors import ObjectMissingError
from contract.storage.local_errors import translate
from contract.storage.opening import opened_folder
from contract.storage.unfinished import OURS


class FolderMissingError(ObjectMissingError):
    """There is no folder to list, or a link stands for it or above it."""


@contextlib.contextmanager
def entries_of(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Yield the entries of a folder; raises FolderMissingError, and storage errors."""
    try:
        with opened_folder(folder) as descriptor, os.scandir(descriptor) as entries:
            yield entries
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise FolderMissingError(f"there is no folder {folder}") from error
        raise translate(folder, error) from error
    except ValueError as error:
        raise FolderMissingError(f"{folder!r} cannot be the name of a folder: {error}") from error


def listed(entry: os.DirEntry[str]) -> tuple[str, int | None] | None:
    """Return an entry's name and size; a folder's name ends in a slash, for sorting, and has no size."""
    if entry.is_dir(follow_symlinks=False):
        return entry.name + "/", None
    if OURS.fullmatch(entry.name):
        return None
    with contextlib.suppress(FileNotFoundError):  # removed since the folder was read
        if entry.is_file(follow_symlinks=False):
            return entry.name, entry.stat(follow_symlinks=False).st_size
    return entry.name, 0
