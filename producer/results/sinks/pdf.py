"""Each document as a searchable PDF: page images with the words as text behind them."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import IO, Any, cast

import pikepdf

from contract.errors import UsageError
from contract.scratch import scratch_folder
from contract.storage import COPY_BYTES
from contract.storage.opening import pinned
from producer.results.sinks.base import SinkContext
from producer.results.sinks.documents import AddPage, DocumentSink, check_straight, export_of
from producer.results.sinks.page_exports import Exported


@contextlib.contextmanager
def _open(uri: str, context: SinkContext) -> Iterator[AddPage[Exported]]:
    workspace = context.workspace
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        # Pages' bytes stay in the chunks' PDFs until the document is saved.
        sources: dict[int, pikepdf.Pdf] = {}
        document = stack.enter_context(pikepdf.new())

        def add(exported: Exported) -> None:
            chunk = exported.chunk
            if chunk not in sources:
                local = stack.enter_context(workspace.store.local_copy(workspace.page_pdfs(chunk)))
                sources[chunk] = stack.enter_context(pikepdf.open(stack.enter_context(pinned(local))))
            document.pages.append(sources[chunk].pages[exported.number])

        yield add
        # The same pages give the same bytes, so that merging again is idempotent.
        document.save(folder / "document.pdf", deterministic_id=True)
        with workspace.store.writer(uri) as target, (folder / "document.pdf").open("rb") as saved:
            shutil.copyfileobj(saved, cast("IO[bytes]", target), COPY_BYTES)


def _check(parameters: Any) -> None:
    check_straight(parameters)
    if parameters.straighten_pages:
        raise UsageError(
            "exports: pdf shows the original pages, so words of straightened pages would be misplaced: "
            "use txt or hocr, or leave straighten_pages false"
        )


SINK = DocumentSink("pdf", export_of, _open, check=_check)
