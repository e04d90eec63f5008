"""One image or document."""

import os
from collections.abc import Iterator
from pathlib import Path

from contract.records import Item
from contract.source import Source
from contract.storage import is_remote
from producer.sources.base import PAGE_EXTENSIONS, SourceContext, has_extension


class File:
    """A single file or object; its name is the item's id."""

    named = "an image or PDF file"

    def match(self, text: str) -> Source | None:
        """Return the file that the text names; a remote file is recognised by its extension only."""
        if is_remote(text):
            return Source(type="file", uri=text) if has_extension(text, PAGE_EXTENSIONS) else None
        path = os.path.realpath(text)
        is_file = has_extension(path, PAGE_EXTENSIONS) and Path(path).is_file()
        return Source(type="file", uri=path) if is_file else None

    def root(self, uri: str) -> str:
        """Return the file's folder."""
        return uri.rpartition("/")[0] or "/"

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the file as the one item."""
        if has_extension(uri, context.extensions):
            yield Item(id=uri.rpartition("/")[2], uri=uri)
        else:
            context.passed_over["other_extension"] += 1


SOURCE = File()
