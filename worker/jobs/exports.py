"""The exports of each page besides its line: docTR's text and hOCR, and the page as searchable PDF.

They are made from the lines, so that a page's exports and its line agree. They are written before the part,
since the part marks the chunk as done; the merge joins the pages of a document.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pikepdf
import structlog
from doctr.io.elements import Block, Line, Page, Word
from PIL import Image

from contract.errors import ErrorCode, ItemError, TraceOcrError
from contract.job import Job
from contract.lines import Estimate, Geometry, OcrLine, PageExport, encode_lines
from contract.lines import Line as ItemLine
from contract.printable import for_xml, printable
from contract.records import Item
from contract.scratch import scratch_folder
from contract.workspace import Workspace
from worker.images.decode import DecodedImage
from worker.pipeline.run import ChunkRun, Pipeline

JPEG_QUALITY = 85
"""JPEG quality of a page's image in its PDF: scans look the same at a tenth of the size."""


def write_exports(
    workspace: Workspace,
    chunk: int,
    job: Job,
    lines: Sequence[tuple[Item, ItemLine]],
    run: ChunkRun,
    pipeline: Pipeline,
) -> list[ItemLine]:
    """Write the exports of a chunk's pages, replacing those of an earlier run; return the chunk's lines.

    A page that cannot be exported becomes an error line, so that results and exports hold the same pages.

    Raises:
        StorageError: storage is unavailable
    """
    pages: list[PageExport] = []
    kept: list[ItemLine] = []
    with SearchablePdf(pipeline.decoding.resolution) as pdf:
        for item, line in lines:
            try:
                if isinstance(line, OcrLine):
                    with _export_errors(item):
                        page = page_export(line)
                        if "pdf" in job.exports:
                            pdf.add(page.hocr, run.decode(item, run.fetch(item)))
                    pages.append(page)
                kept.append(line)
            except ItemError as error:
                kept.append(run.error_line(item, error))
        workspace.store.replace(workspace.page_exports(chunk), encode_lines(pages))
        if "pdf" in job.exports and pages:
            workspace.store.replace(workspace.page_pdfs(chunk), pdf.save())
    return kept


@contextlib.contextmanager
def _export_errors(item: Item) -> Iterator[None]:
    """Turn an error of a page's export into an item error; those of storage and of memory pass unchanged."""
    try:
        yield
    except (TraceOcrError, MemoryError):
        raise
    # Any exception: the libraries of XML, fonts and PDF fail in many ways on unusual text and sizes.
    except Exception as error:
        structlog.get_logger().warning("page_not_exported", item=item.id, exc_info=error)
        raise ItemError(
            ErrorCode.EXPORT_FAILED,
            f"the page was read and its exports cannot be made ({type(error).__name__}: {error}): "
            "leave the page out, or submit a job without exports",
        ) from error


def page_export(line: OcrLine) -> PageExport:
    """Return docTR's text of a page; and its hOCR, with ids unique to the page, if its boxes are straight."""
    page = page_of(line)
    return PageExport(line.id, page.render(), hocr(page, line.name) if _is_straight(page) else "")


def page_of(line: OcrLine) -> Page:
    """Return the `doctr.io.Page` that a line was made from, without its image."""
    blocks = [
        Block(
            [
                Line([_word(word) for word in text.words], _box(text.geometry), text.detection_score)
                for text in block.lines
            ],
            geometry=_box(block.geometry),
            objectness_score=block.detection_score,
        )
        for block in line.pages[0].blocks
    ]
    return Page(
        np.zeros((1, 1, 3), np.uint8),
        blocks,
        line.page - 1,
        line.dimensions,
        _pair(line.orientation),
        _pair(line.language),
    )


def hocr(page: Page, title: str) -> str:
    """Return docTR's hOCR of a page, with its number in the document: docTR numbers every page as first.

    Characters that XML does not allow are escaped in the title, and replaced in the text.
    """
    _, tree = page.export_as_xml(file_title=printable(title))
    root = tree.getroot()
    assert root is not None
    for element in root.iter():
        if element.get("class") == "ocr_page":
            element.set("title", element.get("title", "").replace("ppageno 0", f"ppageno {page.page_idx}"))
        elif element.get("id"):
            element.set("id", f"page_{page.page_idx + 1}_{element.get('id')}")
    return for_xml(ElementTree.tostring(root, encoding="unicode"))


class SearchablePdf:
    """A PDF of images with the words of their hOCR as invisible text at their positions.

    Args:
        resolution: dots per inch of images that have none of their own
    """

    def __init__(self, resolution: int) -> None:
        self._resolution = resolution
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "SearchablePdf":
        self._folder = self._stack.enter_context(scratch_folder())
        self._document = self._stack.enter_context(pikepdf.new())
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def _fonts(self) -> Any:
        from ocrmypdf.font import MultiFontManager

        return MultiFontManager()

    def add(self, text: str, image: DecodedImage) -> None:
        """Add a page.

        Args:
            text: the page's hOCR
            image: its image, as large as its own resolution says
        """
        # Imported here: it takes half a second, and only PDFs need it.
        from ocrmypdf.fpdf_renderer import Fpdf2PdfRenderer
        from ocrmypdf.hocrtransform import HocrParser

        hocr_file, image_file, pdf_file = (
            self._folder / name for name in ("page.hocr", "page.jpg", "page.pdf")
        )
        hocr_file.write_text(text, encoding="utf-8")
        Image.fromarray(image.pixels).save(image_file, quality=JPEG_QUALITY)
        page = HocrParser(hocr_file).parse()
        across, down = image.resolution or (self._resolution, self._resolution)
        Fpdf2PdfRenderer(page, across, self._fonts, image=image_file).render(pdf_file)
        with pikepdf.open(pdf_file) as single:
            _stretch(single.pages[0], across / down)
            self._document.pages.extend(single.pages)

    def save(self) -> bytes:
        """Return the PDF's bytes."""
        saved = self._folder / "chunk.pdf"
        self._document.save(saved)
        return saved.read_bytes()


def _stretch(page: pikepdf.Page, factor: float) -> None:
    """Change a page's height: faxes have other dots per inch down than across, and the renderer takes one."""
    if factor == 1:
        return
    left, bottom, right, top = map(float, page.mediabox)
    page.mediabox = pikepdf.Array([left, bottom * factor, right, top * factor])
    page.contents_add(f"q 1 0 0 {factor:.6f} 0 0 cm".encode(), prepend=True)
    page.contents_add(b"Q")


def _is_straight(page: Page) -> bool:
    return all(len(block.geometry) == 2 for block in page.blocks)


def _word(word: Any) -> Word:
    return Word(
        word.value,
        word.confidence,
        _box(word.geometry),
        word.detection_score,
        _pair(word.text_orientation),
    )


def _box(geometry: Geometry) -> Any:
    """Return docTR's form of a geometry: two corners, or an array of four."""
    corners = tuple(zip(geometry[::2], geometry[1::2], strict=True))
    return corners if len(corners) == 2 else np.array(corners, np.float32)


def _pair(estimate: Estimate[Any]) -> dict[str, Any]:
    return {"value": estimate.value, "confidence": estimate.confidence}
