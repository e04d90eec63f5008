"""Each document as hOCR, joined from docTR's hOCR of each page."""

import contextlib
from collections.abc import Iterator

from producer.results.sinks.base import SinkContext
from producer.results.sinks.documents import AddPage, DocumentSink, check_straight, export_of
from producer.results.sinks.page_exports import Exported

BODY, END_OF_BODY = "<body>", "</body>"


@contextlib.contextmanager
def _open(uri: str, context: SinkContext) -> Iterator[AddPage[Exported]]:
    with context.workspace.store.writer(uri) as target:
        end = ""

        def add(exported: Exported) -> None:
            nonlocal end
            head, _, rest = exported.page.hocr.partition(BODY)
            body, _, after = rest.rpartition(END_OF_BODY)
            if not end:
                target.write((head + BODY).encode())
                end = END_OF_BODY + after
            target.write(body.encode())

        yield add
        target.write(end.encode())


SINK = DocumentSink("hocr", export_of, _open, check=check_straight)
