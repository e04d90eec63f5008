"""Each document as hOCR, joined from docTR's hOCR of each page."""

import contextlib
from collections.abc import Iterator

from contract.lines import PageExport
from contract.workspace import Workspace
from producer.results.sinks.documents import AddPage, DocumentSink, check_straight

BODY, END_OF_BODY = "<body>", "</body>"


@contextlib.contextmanager
def _open(uri: str, workspace: Workspace) -> Iterator[AddPage]:
    with workspace.store.writer(uri) as target:
        end = ""

        def add(page: PageExport, _chunk: int, _number: int) -> None:
            nonlocal end
            head, _, rest = page.hocr.partition(BODY)
            body, _, after = rest.rpartition(END_OF_BODY)
            if not end:
                target.write((head + BODY).encode())
                end = END_OF_BODY + after
            target.write(body.encode())

        yield add
        target.write(end.encode())


SINK = DocumentSink("hocr", _open, check_straight)
