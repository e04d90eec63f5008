"""Each document's text, as docTR renders it."""

import contextlib
from collections.abc import Iterator

from producer.results.sinks.base import SinkContext
from producer.results.sinks.documents import AddPage, DocumentSink, export_of
from producer.results.sinks.page_exports import Exported

PAGE_BREAK = "\n\n\n\n"
"""Separator between two pages' texts, as in docTR's `Document.render`."""


@contextlib.contextmanager
def _open(uri: str, context: SinkContext) -> Iterator[AddPage[Exported]]:
    with context.workspace.store.writer(uri) as target:
        before = ""

        def add(exported: Exported) -> None:
            nonlocal before
            target.write((before + exported.page.text).encode())
            before = PAGE_BREAK

        yield add
        target.write(b"\n")


SINK = DocumentSink("txt", export_of, _open)
