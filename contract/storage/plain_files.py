"""Read many small local files: half the processor time of a `LocalStore.read` for each.

A folder is opened once for all its files that follow each other, and no rule is a function of its own. What
is not plain, a missing file or a link among them, is left to `LocalStore.read`, which says what is wrong.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from contract.errors import NotAFileError
from contract.storage.opening import open_within, pass_folder
from contract.storage.unfinished import folder_and_name


def plain_files(paths: Iterable[str], limit: int) -> Iterator[bytes | None]:
    """Yield whole files; None for one that is empty, too large, or only `LocalStore.read` knows what it is.

    Args:
        paths: as `LocalStore.read` takes them; no link on them is followed
        limit: maximum bytes of a file
    """
    for folder, files in groupby(map(folder_and_name, paths), itemgetter(0)):
        try:
            descriptor = pass_folder(folder)
        except (OSError, ValueError):
            yield from (None for _ in files)
            continue
        try:
            for _, name in files:
                yield _plain_file(descriptor, name, limit)
        finally:
            os.close(descriptor)


def _plain_file(folder: int, name: str, limit: int) -> bytes | None:
    try:
        descriptor, size = open_within(folder, name)
    except (OSError, ValueError, NotAFileError):
        return None
    try:
        data = os.read(descriptor, size + 1) if 0 < size <= limit else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data if 0 < len(data) == size else None
