"""The interface of sources: items in a fixed order, in constant memory."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from contract.errors import InterruptedRunError
from contract.images import IMAGE_EXTENSIONS
from contract.records import Item
from contract.shards import format_of
from contract.source import Changed, Shards, Source
from contract.storage import Storage, absolute
from contract.storage.roots import AllowedRoots

PAGE_EXTENSIONS = IMAGE_EXTENSIONS | {".pdf"}
"""Extensions of files that page jobs read."""

SHARD = "shard"
"""The reason under which shards are counted in folders and prefixes, which list single files."""


@dataclass(frozen=True)
class SourceContext:
    """What a source needs to list its items.

    Args:
        storage: the storage backends
        stdin: standard input
        extensions: file name extensions to include from a folder or prefix
        passed_over: the source's counts, by reason, of what it saw and did not yield
        locate: returns the form to open of the source's URI, which another machine may have recorded
        changed: which fingerprint items need; a source may leave it out where its listing does not tell it
        shards: which shards a source of shards reads, and their columns
        roots: what files must lie below that are read for their items; None if all may be read
        folders: what is listed of a folder or prefix, as `folders_of` returns it
    """

    storage: Storage
    stdin: IO[bytes]
    extensions: frozenset[str] = IMAGE_EXTENSIONS
    passed_over: Counter[str] = field(default_factory=Counter)
    locate: Callable[[str], str] = absolute
    changed: Changed | None = None
    shards: Shards | None = None
    roots: AllowedRoots | None = None
    folders: tuple[str, ...] = ("",)


class SourceType(Protocol):
    """One source type; its module's name is the type in job.json."""

    @property
    def named(self) -> str:
        """What a user names with it, and how it is recognised, for messages: "a folder"."""

    def match(self, text: str) -> Source | None:
        """Return the source that the user's SOURCE argument names, or None if it is not of this type.

        Raises:
            OSError, ValueError: the text is not a valid path
        """

    def root(self, uri: str) -> str:
        """Return the folder or prefix that relative names in the source start from."""

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the items; every call yields the same items in the same order, and reads lazily.

        Raises:
            SourceError: the source cannot be listed, or is malformed
        """


class Listing:
    """The items of one source; iterate once.

    `passed_over` counts, by reason, what was seen and is not an item; the counts grow during the iteration.
    """

    def __init__(self, items: Iterator[Item], passed_over: Counter[str]) -> None:
        self._items = items
        self.passed_over = passed_over

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def until(self, stop: threading.Event) -> "Listing":
        """Return a listing that raises InterruptedRunError once `stop` is set."""

        def check() -> None:
            if stop.is_set():
                raise InterruptedRunError("planning was stopped; submitting again continues it")

        return self.checked(check)

    def checked(self, check: Callable[[], None]) -> "Listing":
        """Return a listing that calls `check` before each item; what it raises ends the iteration."""

        def items() -> Iterator[Item]:
            for item in self._items:
                check()
                yield item

        return Listing(items(), self.passed_over)


def has_extension(name: str, extensions: frozenset[str]) -> bool:
    """Return whether a file's name or an object's key ends in one of the extensions."""
    return os.path.splitext(name)[1].lower() in extensions  # noqa: PTH122 - an S3 key is no path


def other_extension(name: str) -> str:
    """Return the reason under which a file with another extension is counted."""
    return SHARD if format_of(name) else "other_extension"
