"""Stage 8, on request: what workers exported of each page, put together document by document.

Text and hOCR are docTR's own; the PDF is of the pages' images with the words behind them.
"""

import contextlib
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, cast
from urllib.parse import quote

import msgspec
import pikepdf

from contract.documents import document_of
from contract.errors import JobError, UsageError
from contract.job import Export, Job
from contract.kinds.ocr import OcrParameters
from contract.lines import PageExport
from contract.storage import COPY_BYTES
from contract.storage.streams import TranslatedStream
from contract.workspace import Workspace, intact

PAGE_BREAK = "\n\n\n\n"
"""Between the texts of two pages: what docTR's `Document.render` puts there."""

BODY, END_OF_BODY = "<body>", "</body>"

MAX_NAME = 200
"""Bytes of a file's name made of an id at most: file systems end at 255, and a suffix follows."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def check_exports(job: Job) -> None:
    """Raise UsageError if a job asks for an export that its parameters leave no way to make."""
    wanted, parameters = set(job.exports), cast("OcrParameters", job.parameters)
    if not wanted:
        return
    if {"hocr", "pdf"} & wanted and not parameters.assume_straight_pages:
        raise UsageError(
            "exports: hocr and pdf hold straight boxes only: ask for txt alone, or leave "
            "assume_straight_pages true"
        )
    if "pdf" in wanted and parameters.straighten_pages:
        raise UsageError(
            "exports: pdf shows pages as they came, and the words of straightened ones would lie beside "
            "them: ask for txt or hocr, or leave straighten_pages false"
        )


def export_uri(workspace: Workspace, document: str, export: Export) -> str:
    """Return where an export of a document is written: as the document's id, below `exports/`.

    Ids may be anything, so what could lead elsewhere or is no name of a file is percent-encoded.
    """
    names = [_file_name(name) for name in document.split("/")]
    return workspace.path("exports", *names[:-1], f"{names[-1]}.{export}")


def remove_exports(job: Job, workspace: Workspace) -> int:
    """Remove what was written of a job's documents; return the number of objects."""
    removed = 0
    for number in sorted(workspace.chunk_numbers()) if job.exports else ():
        for document in {document_of(item.id) for item in workspace.items(number)}:
            for uri in (export_uri(workspace, document, export) for export in job.exports):
                removed += workspace.store.exists(uri)
                workspace.store.delete(uri)
    return removed


class DocumentExports:
    """Writes each document's exports while its pages come by in source order; holds a few chunks' exports.

    A document of which no page was read has none; a page that was not read is left out of its document's.
    """

    def __init__(self, job: Job, workspace: Workspace) -> None:
        self._workspace, self._exports = workspace, job.exports
        # A page is of the chunk at hand, or of the one that each retry is at.
        self._kept = 1 + len(job.retries)
        self._pages: dict[int, dict[str, tuple[int, PageExport]]] = {}
        self._document: str | None = None
        self._open = contextlib.ExitStack()
        self._writers: list[_Writer] = []

    def __enter__(self) -> "DocumentExports":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, identity: str, chunk: int) -> None:
        """Add the next page that was read; raises JobError if its worker left no export of it."""
        number, page = self._page(identity, chunk)
        document = document_of(identity)
        if document != self._document:
            self._open.close()
            self._document = document
            self._writers = [self._open.enter_context(self._writer(export)) for export in self._exports]
        for writer in self._writers:
            writer.add(page, chunk, number)

    def _page(self, identity: str, chunk: int) -> tuple[int, PageExport]:
        if chunk not in self._pages:
            if len(self._pages) >= self._kept:
                self._pages.pop(next(iter(self._pages)))
            self._pages[chunk] = self._load(chunk)
        try:
            return self._pages[chunk][identity]
        except KeyError as error:
            raise JobError(
                f"{self._workspace.page_exports(chunk)} lacks {identity!r}: delete that file and the part of "
                f"the same number, and submit the job again to read its chunk anew"
            ) from error

    def _load(self, chunk: int) -> dict[str, tuple[int, PageExport]]:
        uri = self._workspace.page_exports(chunk)
        with intact(uri):
            pages = [msgspec.json.decode(line, type=PageExport) for line in self._workspace.lines(uri)]
        return {page.id: (number, page) for number, page in enumerate(pages)}

    def _writer(self, export: Export) -> contextlib.AbstractContextManager["_Writer"]:
        assert self._document is not None
        uri = export_uri(self._workspace, self._document, export)
        match export:
            case "txt":
                return _text(uri, self._workspace)
            case "hocr":
                return _hocr(uri, self._workspace)
            case "pdf":
                return _pdf(uri, self._workspace)


class _Writer(Protocol):
    """An export of one document being written."""

    def add(self, page: PageExport, chunk: int, number: int) -> None:
        """Add a page, which is number `number`, counted from 0, of its chunk's PDF."""


class _TextWriter:
    def __init__(self, target: TranslatedStream) -> None:
        self._target, self._break = target, ""

    def add(self, page: PageExport, _chunk: int, _number: int) -> None:
        self._target.write((self._break + page.text).encode())
        self._break = PAGE_BREAK


class _HocrWriter:
    def __init__(self, target: TranslatedStream) -> None:
        self._target = target
        self._end = ""

    def add(self, page: PageExport, _chunk: int, _number: int) -> None:
        head, _, rest = page.hocr.partition(BODY)
        body, _, end = rest.rpartition(END_OF_BODY)
        if not self._end:
            self._target.write((head + BODY).encode())
            self._end = END_OF_BODY + end
        self._target.write(body.encode())

    def close(self) -> None:
        self._target.write(self._end.encode())


class _PdfWriter:
    """Takes pages from chunks' PDFs, whose bytes stay in their files until the document is saved."""

    def __init__(self, workspace: Workspace, stack: contextlib.ExitStack) -> None:
        self._workspace, self._stack = workspace, stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trace-ocr-")))
        self._sources: dict[int, pikepdf.Pdf] = {}
        self._pdf = stack.enter_context(pikepdf.new())

    def add(self, _page: PageExport, chunk: int, number: int) -> None:
        if chunk not in self._sources:
            self._sources[chunk] = self._opened(self._workspace.page_pdfs(chunk))
        self._pdf.pages.append(self._sources[chunk].pages[number])

    def save(self, target: TranslatedStream) -> None:
        file = self._folder / "document.pdf"
        self._pdf.save(file)
        with file.open("rb") as saved:
            shutil.copyfileobj(saved, cast("IO[bytes]", target), COPY_BYTES)

    def _opened(self, uri: str) -> pikepdf.Pdf:
        path = self._stack.enter_context(self._workspace.store.local_copy(uri))
        return self._stack.enter_context(pikepdf.open(path))


@contextlib.contextmanager
def _text(uri: str, workspace: Workspace) -> Iterator[_TextWriter]:
    with workspace.store.writer(uri) as target:
        yield _TextWriter(target)
        target.write(b"\n")


@contextlib.contextmanager
def _hocr(uri: str, workspace: Workspace) -> Iterator[_HocrWriter]:
    with workspace.store.writer(uri) as target:
        writer = _HocrWriter(target)
        yield writer
        writer.close()


@contextlib.contextmanager
def _pdf(uri: str, workspace: Workspace) -> Iterator[_PdfWriter]:
    with contextlib.ExitStack() as stack:
        writer = _PdfWriter(workspace, stack)
        yield writer
        with workspace.store.writer(uri) as target:
            writer.save(target)


def _file_name(name: str) -> str:
    if not name.strip("."):
        return "%2E" * len(name) or "%"
    encoded = _UNPRINTABLE.sub(lambda found: quote(found[0]), name)
    if len(encoded.encode()) > MAX_NAME:
        encoded = f"{encoded.encode()[:MAX_NAME].decode(errors='ignore')}-{zlib.crc32(name.encode()):08x}"
    return encoded
