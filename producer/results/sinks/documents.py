"""One file per document, or per page, made of its pages in order.

A document without a read page has no file; a page that failed is omitted from its document's file.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from contract.documents import document_of
from contract.errors import UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.printable import CONTROLS
from contract.records import Item, failure_of, identity_of
from contract.workspace import Workspace
from producer.results.sinks import SINKS
from producer.results.sinks.base import MergedLine, SinkContext, Write
from producer.results.sinks.page_exports import Exported

P = TypeVar("P")
"""What a format is made of: its worker's export of a page, or a page's line with its item."""

MAX_NAME = 200
"""Maximum bytes of a file name made from an id: file systems allow 255, and a suffix follows."""

MAX_PATH = 512
"""Maximum bytes of a path below `exports`: a key on S3 has at most 1,024 with its workspace's prefix."""

_ENCODED = re.compile(r"%(?=[01][0-9A-F]|2[5E]|7F|C2|D8|E2)")
"""The beginning of what could be taken for our own encoding of a control, a dot or a percent sign."""

AddPage = Callable[[P], None]
"""Adds a page to the document's file."""

OpenDocument = Callable[[str, SinkContext], AbstractContextManager[AddPage[P]]]
"""(URI, merge): opens a document's file, which is complete or absent at the end of the block."""


class DocumentSink(Generic[P]):
    """Writes `exports/<document>.<suffix>` for each document from its pages, which come in source order.

    Args:
        name: the name of the format
        page_of: returns what the file is made of, for one page
        open_document: opens the file of one document
        file_of: returns the id that an item's file is named by; items with the same one follow each other
        suffix: of the files; None for the name
        check: raises UsageError for parameters that rule the format out
    """

    def __init__(
        self,
        name: str,
        page_of: Callable[[SinkContext, MergedLine], P],
        open_document: OpenDocument[P],
        *,
        file_of: Callable[[Item], str] = lambda item: document_of(item.id, item.page),
        suffix: str | None = None,
        check: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._name, self._page_of, self._open_document = name, page_of, open_document
        self._file_of, self._check = file_of, check
        self.suffix = suffix or name

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds whose pages this format can hold."""
        return frozenset(
            kind.name for kind in KINDS.values() if self._name in (*kind.page_exports, *kind.line_exports)
        )

    def check(self, job: Job) -> None:
        """Raise UsageError if the job's parameters rule this format out."""
        self._check(job.parameters)

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that adds each page that was read to its document's file."""
        with contextlib.ExitStack() as stack:
            current: str | None = None
            add: AddPage[P]

            def write(merged: MergedLine) -> None:
                nonlocal current, add
                if merged.failure:
                    return
                page, document = self._page_of(context, merged), self._file_of(context.item(merged))
                if document != current:
                    stack.close()
                    current = document
                    uri = self._uri(context.job, context.workspace, document)
                    add = stack.enter_context(self._open_document(uri, context))
                add(page)

            yield write

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URI of each document's file: of those with a page that was read."""
        for number in sorted(workspace.part_numbers()):
            lines = workspace.lines(workspace.part(number))
            read = {identity_of(line) for line in lines if failure_of(line) is None}
            items = (item for item in workspace.items(number) if item.id in read)
            for document in sorted({self._file_of(item) for item in items}):
                yield self._uri(job, workspace, document)

    def _uri(self, job: Job, workspace: Workspace, document: str) -> str:
        written = (SINKS[name] for name in job.exports if name in SINKS)
        suffixes = [sink.suffix for sink in written if isinstance(sink, DocumentSink)]
        return export_uri(workspace, document, self.suffix, suffixes)


def export_of(context: SinkContext, merged: MergedLine) -> Exported:
    """Return what the worker of a page has exported of it; raises JobError if there is nothing."""
    return context.pages.page(identity_of(merged.line), merged.chunk)


def check_straight(parameters: Any) -> None:
    """Raise UsageError if boxes are not straight: the format holds straight boxes only."""
    if not parameters.assume_straight_pages:
        raise UsageError(
            "exports: hocr and pdf hold straight boxes only: use txt only, or leave "
            "assume_straight_pages true"
        )


def export_uri(workspace: Workspace, document: str, suffix: str, suffixes: Sequence[str]) -> str:
    """Return the URI of a document's export: the document's id, below `exports/`.

    Ids may be any text, so names that lead outside the folder or are not file names are percent-encoded, and
    long ones are cut. Two documents never share a file, and no document's folder is another one's file.

    Args:
        suffix: the export's suffix
        suffixes: those of all exports of the job
    """
    *folders, name = (_file_name(part) for part in document.split("/"))
    folders = [_folder_name(folder, suffixes) for folder in folders]
    if len("/".join((*folders, name)).encode()) > MAX_PATH:
        folders, name = [], _cut(name, document)
    return workspace.path("exports", *folders, f"{name}.{suffix}")


def _file_name(part: str) -> str:
    if not part.strip("."):
        return "%2E" * len(part) or "%"
    if part == "%":  # as an empty part is written
        return "%25"
    encoded = _ENCODED.sub("%25", part)
    encoded = CONTROLS.sub(lambda found: quote(found[0]), encoded)
    return _cut(encoded, part) if len(encoded.encode()) > MAX_NAME else encoded


def _folder_name(name: str, suffixes: Sequence[str]) -> str:
    """Return the name of a folder: `report.pdf` may be the file that document `report` is exported to."""
    stem, _, extension = name.rpartition(".")
    taken = name.lower().endswith(tuple(f".{suffix}" for suffix in suffixes))
    return f"{stem}%2E{extension}" if taken else name


def _cut(name: str, whole: str) -> str:
    """Return the beginning of a name, with a hash of what it stands for."""
    digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
    return f"{name.encode()[:MAX_NAME].decode(errors='ignore')}-{digest}"
