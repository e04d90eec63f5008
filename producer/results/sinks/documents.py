"""One file per document, made of its pages' exports in order.

A document without a read page has no file; a page that failed is omitted from its document's file.
"""

import contextlib
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from contract.documents import document_of
from contract.errors import UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import PageExport
from contract.records import failure_of, identity_of
from contract.workspace import Workspace
from producer.results.sinks.base import MergedLine, SinkContext, Write

MAX_NAME = 200
"""Maximum bytes of a file name made from an id: file systems allow 255, and a suffix follows."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

AddPage = Callable[[PageExport, int, int], None]
"""(page, chunk, number): adds a page; `number` is its position in the chunk's PDF, counted from 0."""

OpenDocument = Callable[[str, Workspace], AbstractContextManager[AddPage]]
"""(URI, workspace): opens a document's file, which is complete or absent at the end of the block."""


class DocumentSink:
    """Writes `exports/<document>.<name>` for each document from its pages, which come in source order.

    Args:
        name: the name of the format, and the files' suffix
        open_document: opens the file of one document
        check: raises UsageError for parameters that rule the format out
    """

    def __init__(
        self, name: str, open_document: OpenDocument, check: Callable[[Any], None] = lambda _: None
    ) -> None:
        self._name, self._open_document, self._check = name, open_document, check

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds whose workers export this format page by page."""
        return frozenset(kind.name for kind in KINDS.values() if self._name in kind.page_exports)

    def check(self, job: Job) -> None:
        """Raise UsageError if the job's parameters rule this format out."""
        self._check(job.parameters)

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that adds each page that was read to its document's file."""
        with contextlib.ExitStack() as stack:
            current: str | None = None
            add: AddPage

            def write(merged: MergedLine) -> None:
                nonlocal current, add
                if merged.failure:
                    return
                identity = identity_of(merged.line)
                number, page = context.pages.page(identity, merged.chunk)
                if document_of(identity) != current:
                    stack.close()
                    current = document_of(identity)
                    uri = export_uri(context.workspace, current, self._name)
                    add = stack.enter_context(self._open_document(uri, context.workspace))
                add(page, merged.chunk, number)

            yield write

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URI of each document's file: of those with a page that was read."""
        for number in sorted(workspace.part_numbers()):
            lines = workspace.lines(workspace.part(number))
            read = {document_of(identity_of(line)) for line in lines if failure_of(line) is None}
            for document in sorted(read):
                yield export_uri(workspace, document, self._name)


def check_straight(parameters: Any) -> None:
    """Raise UsageError if boxes are not straight: the format holds straight boxes only."""
    if not parameters.assume_straight_pages:
        raise UsageError(
            "exports: hocr and pdf hold straight boxes only: use txt only, or leave "
            "assume_straight_pages true"
        )


def export_uri(workspace: Workspace, document: str, suffix: str) -> str:
    """Return the URI of a document's export: the document's id, below `exports/`.

    Ids may be any text, so names that lead outside the folder or are not file names are percent-encoded.
    """
    names = [_file_name(name) for name in document.split("/")]
    return workspace.path("exports", *names[:-1], f"{names[-1]}.{suffix}")


def _file_name(name: str) -> str:
    if not name.strip("."):
        return "%2E" * len(name) or "%"
    encoded = _UNPRINTABLE.sub(lambda found: quote(found[0]), name)
    if len(encoded.encode()) > MAX_NAME:
        encoded = f"{encoded.encode()[:MAX_NAME].decode(errors='ignore')}-{zlib.crc32(name.encode()):08x}"
    return encoded
