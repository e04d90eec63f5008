"""Each document's text, as docTR renders it."""

import contextlib
from collections.abc import Iterator

from contract.lines import PageExport
from contract.workspace import Workspace
from producer.results.sinks.documents import AddPage, DocumentSink

PAGE_BREAK = "\n\n\n\n"
"""Separator between two pages' texts, as in docTR's `Document.render`."""


@contextlib.contextmanager
def _open(uri: str, workspace: Workspace) -> Iterator[AddPage]:
    with workspace.store.writer(uri) as target:
        before = ""

        def add(page: PageExport, _chunk: int, _number: int) -> None:
            nonlocal before
            target.write((before + page.text).encode())
            before = PAGE_BREAK

        yield add
        target.write(b"\n")


SINK = DocumentSink("txt", _open)
