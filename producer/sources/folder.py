"""A local folder, listed recursively, sorted by names as UTF-8: the order of S3 keys."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract.errors import SourceError
from contract.records import MAX_TEXT, Item
from contract.source import Source
from contract.storage import is_remote, join
from contract.storage.opening import open_folder
from contract.workspace import holds_workspace
from producer.sources.base import SourceContext, has_extension, other_extension
from producer.sources.sorting import sort_in_runs


class Folder:
    """Every image or document below a folder of this machine, except in workspaces."""

    named = "a folder"

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
        return _Walk(uri, context.locate(uri), context).items("")


SOURCE = Folder()

_UNREADABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class _Walk:
    """One listing of a folder: `uri` is its name in items, `location` is its path on this machine."""

    uri: str
    location: str
    context: SourceContext

    def items(self, below: str) -> Iterator[Item]:
        """Yield the items of one folder and those below it.

        Folders sort with a trailing slash, as S3 keys do.
        """
        for name in sort_in_runs(self._names(below)):
            if name.endswith("/"):
                yield from self._inner(below + name)
                continue
            identity = _printable(below + name)
            uri = f"{self.uri.rstrip('/')}/{identity}"
            if len(uri) > MAX_TEXT:  # what is not UTF-8 becomes longer
                self.context.passed_over["name_too_long"] += 1
            else:
                yield Item(id=identity, uri=uri)

    def _inner(self, below: str) -> Iterator[Item]:
        name = _printable(below)
        if not any(wanted.startswith(name) or name.startswith(wanted) for wanted in self.context.folders):
            return
        folder = self._path(below)
        if holds_workspace(folder, self.context.storage.at(folder)):
            self.context.passed_over["workspace"] += 1
            return
        yield from self.items(below)

    def _path(self, below: str) -> str:
        return join(self.location, below).rstrip("/") or "/"

    def _names(self, below: str) -> Iterator[str]:
        folder = self._path(below)
        try:
            descriptor = open_folder(folder)
            try:
                yield from self._entries(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            # A locked folder such as lost+found, or one whose path is too long, must not stop the others.
            if not below or error.errno not in _UNREADABLE:
                raise SourceError(f"the folder {folder} cannot be listed: {error.strerror}") from error
            self.context.passed_over["unreadable_folder"] += 1

    def _entries(self, descriptor: int) -> Iterator[str]:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                reason = _reason_to_pass_over(entry, self.context.extensions)
                if reason:
                    self.context.passed_over[reason] += 1
                else:
                    yield entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")


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
        return other_extension(entry.name)
    return None if stat.S_ISREG(mode) else "not_a_file"


def _printable(name: str) -> str:
    r"""Return the name as valid UTF-8; invalid bytes become \xNN, and the item ends as not found."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
