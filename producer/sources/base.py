"""What every source gives: items in a fixed order, in flat memory."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from contract.errors import InterruptedRunError
from contract.job import Source
from contract.records import Item
from contract.storage import Storage

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Names that are taken for images; only the worker looks at what is in them."""

PAGE_EXTENSIONS = IMAGE_EXTENSIONS | {".pdf"}
"""Names that are taken for pages."""


@dataclass(frozen=True)
class SourceContext:
    """What a source is listed with.

    Args:
        storage: the stores
        stdin: standard input
        extensions: of the names that are taken from a folder or prefix
        passed_over: where the source counts, by reason, what it saw and does not give
    """

    storage: Storage
    stdin: IO[bytes]
    extensions: frozenset[str] = IMAGE_EXTENSIONS
    passed_over: Counter[str] = field(default_factory=Counter)


class SourceType(Protocol):
    """One type of source; its module's name is the type in job.json."""

    def match(self, text: str) -> Source | None:
        """Return what the user's SOURCE argument names, if it names a source of this type; else None.

        Raises:
            OSError, ValueError: the text can be no path
        """

    def root(self, uri: str) -> str:
        """Return the folder or prefix that relative names in the source start from."""

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the items, the same ones in the same order at every call; nothing is read before the first.

        Raises:
            SourceError: the source cannot be listed, or is malformed
        """


class Listing:
    """The items of one source; iterate once.

    `passed_over` counts, by reason and as the iteration goes on, what was seen and is not an item.
    """

    def __init__(self, items: Iterator[Item], passed_over: Counter[str]) -> None:
        self._items = items
        self.passed_over = passed_over

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def until(self, stop: threading.Event) -> "Listing":
        """Return the listing that ends with InterruptedRunError once `stop` is set."""

        def items() -> Iterator[Item]:
            for item in self._items:
                if stop.is_set():
                    raise InterruptedRunError("planning was stopped; submitting again continues it")
                yield item

        return Listing(items(), self.passed_over)


def has_extension(name: str, extensions: frozenset[str]) -> bool:
    """Return whether a file's name or an object's key ends in one of the extensions."""
    return os.path.splitext(name)[1].lower() in extensions  # noqa: PTH122 - an S3 key is no path
