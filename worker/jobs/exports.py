"""The exports of each page besides its line: docTR's text and hOCR, and the page as searchable PDF.

They are made from the lines, so that a page's exports and its line agree. They are written before the part,
since the part marks the chunk as done; the merge joins the pages of a document.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pikepdf
from doctr.io.elements import Block, Line, Page, Word
from PIL import Image

from contract.job import Job
from contract.lines import Estimate, Geometry, OcrLine, PageExport, encode_lines
from contract.lines import Line as ItemLine
from contract.records import Item
from contract.workspace import Workspace
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
) -> None:
    """Write the exports of a chunk's pages, replacing those of an earlier run.

    Raises:
        StorageError, ItemError: a page for the PDF cannot be read a second time
    """
    read = [(item, line) for item, line in lines if isinstance(line, OcrLine)]
    pages = [page_export(line) for _, line in read]
    workspace.store.replace(workspace.page_exports(chunk), encode_lines(pages))
    if "pdf" in job.exports and read:
        images = (run.decode(item, run.fetch(item)).pixels for item, _ in read)
        pdf = searchable_pdf([page.hocr for page in pages], images, pipeline.decoding.resolution)
        workspace.store.replace(workspace.page_pdfs(chunk), pdf)


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
    """Return docTR's hOCR of a page, with its number in the document: docTR numbers every page as first."""
    _, tree = page.export_as_xml(file_title=title)
    root = tree.getroot()
    assert root is not None
    for element in root.iter():
        if element.get("class") == "ocr_page":
            element.set("title", element.get("title", "").replace("ppageno 0", f"ppageno {page.page_idx}"))
        elif element.get("id"):
            element.set("id", f"page_{page.page_idx + 1}_{element.get('id')}")
    return ElementTree.tostring(root, encoding="unicode", method="xml")


def searchable_pdf(hocrs: Sequence[str], images: Iterator[Any], resolution: int) -> bytes:
    """Return a PDF of images with the words of their hOCR as invisible text at their positions.

    Args:
        hocrs: the hOCR of each image
        images: (height, width, 3) uint8 each
        resolution: pixels per inch of the images
    """
    # Imported here: it takes half a second, and only PDFs need it.
    from ocrmypdf.font import MultiFontManager
    from ocrmypdf.fpdf_renderer import Fpdf2PdfRenderer
    from ocrmypdf.hocrtransform import HocrParser

    fonts = MultiFontManager()
    with tempfile.TemporaryDirectory(prefix="trace-ocr-") as folder, pikepdf.new() as document:
        hocr_file, image_file, pdf_file, saved = (
            Path(folder, name) for name in ("page.hocr", "page.jpg", "page.pdf", "chunk.pdf")
        )
        for text, pixels in zip(hocrs, images, strict=True):
            hocr_file.write_text(text, encoding="utf-8")
            Image.fromarray(pixels).save(image_file, quality=JPEG_QUALITY)
            page = HocrParser(hocr_file).parse()
            Fpdf2PdfRenderer(page, resolution, fonts, image=image_file).render(pdf_file)
            with pikepdf.open(pdf_file) as single:
                document.pages.extend(single.pages)
        document.save(saved)
        return saved.read_bytes()


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


def _pair(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "confidence": estimate.confidence}
