"""A local folder, listed recursively, sorted by names as UTF-8: the order of S3 keys."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from contract.errors import SourceError
from contract.job import Source
from contract.records import Item
from contract.storage import is_remote
from producer.sources.base import SourceContext, has_extension
from producer.sources.sorting import sort_in_runs


class Folder:
    """Every image or document below a folder of this machine."""

    def match(self, text: str) -> Source | None:
        """Return the folder that the text names, with links resolved."""
        if is_remote(text):
            return None
        path = os.path.realpath(text)
        return Source(type="folder", uri=path) if Path(path).is_dir() else None

    def root(self, uri: str) -> str:
        """Return the folder."""
        return uri

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the folder's items; ids are paths relative to the folder."""
        return _walk(uri, "", context.passed_over, context.extensions)


SOURCE = Folder()


def _walk(root: str, below: str, passed_over: Counter[str], extensions: frozenset[str]) -> Iterator[Item]:
    """Yield the items of one folder and those below it. Folders sort with a trailing slash, as S3 keys do."""
    for name in sort_in_runs(_entries(os.path.join(root, below), passed_over, extensions)):  # noqa: PTH118 - a Path would fold '//'
        if name.endswith("/"):
            yield from _walk(root, below + name, passed_over, extensions)
        else:
            identity = _printable(below + name)
            yield Item(id=identity, uri=f"{root.rstrip('/')}/{identity}")


def _entries(folder: str, passed_over: Counter[str], extensions: frozenset[str]) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                reason = _reason_to_pass_over(entry, extensions)
                if reason:
                    passed_over[reason] += 1
                else:
                    yield entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def _reason_to_pass_over(entry: os.DirEntry[str], extensions: frozenset[str]) -> str | None:
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir(follow_symlinks=False):
        return None
    try:
        mode = entry.stat().st_mode
    except OSError:
        # A broken link, a link to itself or a link into a locked folder stays an item, so that it ends as an
        # error line and not as a silent gap.
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "linked_folder"
    if not has_extension(entry.name, extensions):
        return "other_extension"
    return None if stat.S_ISREG(mode) else "not_a_file"


def _printable(name: str) -> str:
    r"""Return the name as valid UTF-8; invalid bytes become \xNN, and the item ends as not found."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
