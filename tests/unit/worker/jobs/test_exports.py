"""A page's exports, made of its line: docTR's text and hOCR, and a PDF whose words can be searched."""

import json
import re
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pypdfium2
import pytest

from contract.errors import ErrorCode, ItemError, StorageUnavailableError
from contract.job import Job
from contract.lines import Block, ErrorLine, Estimate, Failure, Geometry, OcrLine, PageText, TextLine, Word
from contract.records import Item
from contract.workspace import Workspace
from worker.images.decode import DecodedImage
from worker.jobs.exports import SearchablePdf, page_export, page_of, write_exports

FIRST, SECOND = (0.1, 0.1, 0.4, 0.2), (0.5, 0.1, 0.8, 0.2)
TURNED = (0.1, 0.2, 0.4, 0.1, 0.45, 0.2, 0.15, 0.3)


def line_of(*words: tuple[str, Geometry], page: int = 1) -> OcrLine:
    made = tuple(Word(value, where, 0.75, 0.5, Estimate(0, None)) for value, where in words)
    around = words[0][1] if words else FIRST
    blocks = (Block(around, 0.75, (TextLine(around, 0.75, made),)),) if words else ()
    size = (300, 400)
    return OcrLine("a", "a.pdf", page, Estimate(), Estimate(), size, (PageText(blocks),))


def test_the_page_is_the_one_that_the_line_was_made_of() -> None:
    page = page_of(line_of(("Hello", FIRST), page=3))

    (word,) = page.blocks[0].lines[0].words
    assert (page.page_idx, page.dimensions) == (2, (300, 400))
    assert (word.value, word.confidence, word.objectness_score) == ("Hello", 0.5, 0.75)
    assert word.geometry == ((0.1, 0.1), (0.4, 0.2))


def test_text_and_hocr_are_doctrs() -> None:
    line = line_of(("Hello", FIRST), ("world", SECOND))

    export = page_export(line)

    assert export.text == page_of(line).render() == "Hello world"
    assert re.findall(r'class="ocrx_word".*?bbox ([0-9 ]+);[^>]*>(\w+)<', export.hocr) == [
        ("40 30 160 60", "Hello"),
        ("200 30 320 60", "world"),
    ]


def test_hocr_is_numbered_by_the_documents_page_and_no_id_stands_on_two() -> None:
    first, third = (page_export(line_of(("Hello", FIRST), page=page)).hocr for page in (1, 3))

    ids = [set(re.findall(r' id="([^"]*)"', hocr)) for hocr in (first, third)]
    assert not ids[0] & ids[1]
    assert [re.findall("ppageno ([0-9]+)", hocr) for hocr in (first, third)] == [["0"], ["2"]]


def test_what_an_image_says_is_text_in_hocr() -> None:
    assert "<b>" not in page_export(line_of(("<b>", FIRST))).hocr


def test_turned_words_have_text_and_no_hocr() -> None:
    export = page_export(line_of(("Hello", TURNED)))

    assert (export.text, export.hocr) == ("Hello", "")


def test_a_page_without_words_has_empty_exports_that_a_pdf_can_be_made_of() -> None:
    export = page_export(line_of())

    pdf = pdf_of([export.hocr], DecodedImage(np.zeros((300, 400, 3), np.uint8)), 72)

    assert export.text == ""
    assert texts(pdf) == [""]


@pytest.mark.parametrize(
    ("resolution", "own", "size"),
    [
        (72, None, (400, 300)),
        (144, None, (200, 150)),
        (144, (300.0, 300.0), (96, 72)),
        # A fax: twice as many dots across.
        (144, (288.0, 144.0), (100, 150)),
    ],
)
def test_the_words_of_a_pdf_can_be_found_where_they_stand_on_a_page_of_its_own_size(
    resolution: int, own: tuple[float, float] | None, size: tuple[int, int]
) -> None:
    hocrs = [page_export(line_of((word, FIRST))).hocr for word in ("Hello", "Größe")]
    image = DecodedImage(np.full((300, 400, 3), 200, np.uint8), resolution=own)

    pdf = pdf_of(hocrs, image, resolution)

    assert texts(pdf) == ["Hello", "Größe"]
    with pypdfium2.PdfDocument(pdf) as document:
        assert document[0].get_size() == pytest.approx(size)
        found = document[0].get_textpage()
        assert found.count_rects() == 1
        left, _, right, top = found.get_rect(0)
        assert (left / size[0], right / size[0]) == pytest.approx((0.1, 0.4), abs=0.05)
        assert 1 - top / size[1] == pytest.approx(0.1, abs=0.05)
        # and what is seen is the image alone
        shown = document[0].render().to_numpy()
        assert np.ptp(shown) < 20


@pytest.mark.parametrize("control", ["\x1b", "\0", "\x9b", "\uffff", "\n"])
def test_controls_in_a_name_or_in_text_leave_hocr_that_is_xml(control: str) -> None:
    line = msgspec.structs.replace(line_of((f"a{control}b", FIRST)), name=f"scan{control}.pdf")

    hocr = page_export(line).hocr

    assert "scan" in str(ElementTree.fromstring(hocr).findtext(".//{*}title"))
    assert len(texts(pdf_of([hocr], DecodedImage(np.full((300, 400, 3), 200, np.uint8)), 72))) == 1


class TestOfAChunk:
    """One page that cannot be exported costs that page, not its chunk."""

    @pytest.fixture
    def write(self, job: Job, workspace: Workspace) -> Any:
        """Write the exports of these pages, which are read again as the images; return the chunk's lines."""

        def write(images: dict[str, Any]) -> list[Any]:
            def fetch(item: Item) -> bytes:
                if isinstance(images[item.id], Exception):
                    raise images[item.id]
                return b""

            run = SimpleNamespace(
                fetch=fetch,
                decode=lambda item, _: DecodedImage(images[item.id]),
                error_line=lambda item, error: ErrorLine(
                    item.id, item.uri, Failure(error.code, error.message), 1
                ),
            )
            pipeline = SimpleNamespace(decoding=SimpleNamespace(resolution=72))
            lines = [
                (Item(name, f"/{name}"), msgspec.structs.replace(line_of(("Hello", FIRST)), id=name))
                for name in images
            ]
            exporting = job.model_copy(update={"exports": ("txt", "pdf")})
            return write_exports(workspace, 0, exporting, lines, run, pipeline)  # type: ignore[arg-type]

        return write

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (np.zeros((1, 70_000, 3), np.uint8), "export_failed"),
            (ItemError(ErrorCode.NOT_FOUND, "gone since it was read"), "not_found"),
        ],
        ids=["too wide for a JPEG", "gone"],
    )
    def test_a_bad_page_is_an_error_line_and_the_others_are_exported(
        self, bad: Any, code: str, write: Any, workspace: Workspace
    ) -> None:
        good = np.full((300, 400, 3), 200, np.uint8)

        lines = write({"a.png": good, "bad.png": bad, "c.png": good})

        assert [getattr(line, "error", None) and line.error.code for line in lines] == [None, code, None]
        exported = [json.loads(line)["id"] for line in workspace.lines(workspace.page_exports(0))]
        assert exported == ["a.png", "c.png"]
        assert texts(workspace.store.read(workspace.page_pdfs(0), 1 << 20)) == ["Hello"] * 2

    def test_storage_that_is_away_blames_no_page(self, write: Any) -> None:
        with pytest.raises(StorageUnavailableError):
            write({"a.png": StorageUnavailableError("S3 is away")})


def pdf_of(hocrs: list[str], image: DecodedImage, resolution: int) -> bytes:
    """Return a PDF whose pages have the same image."""
    with SearchablePdf(resolution) as pdf:
        for hocr in hocrs:
            pdf.add(hocr, image)
        return pdf.save()


def texts(pdf: bytes) -> list[str]:
    with pypdfium2.PdfDocument(pdf) as document:
        return [page.get_textpage().get_text_bounded().strip() for page in document]
