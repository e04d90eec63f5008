"""A page's exports, made of its line: docTR's text and hOCR, and a PDF whose words can be searched."""

import re

import numpy as np
import pypdfium2
import pytest

from contract.lines import Block, Estimate, Geometry, OcrLine, PageText, TextLine, Word
from worker.jobs.exports import page_export, page_of, searchable_pdf

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

    pdf = searchable_pdf([export.hocr], iter([np.zeros((300, 400, 3), np.uint8)]), 72)

    assert export.text == ""
    assert texts(pdf) == [""]


@pytest.mark.parametrize(("resolution", "size"), [(72, (400, 300)), (144, (200, 150))])
def test_the_words_of_a_pdf_can_be_found_where_they_stand(resolution: int, size: tuple[int, int]) -> None:
    hocrs = [page_export(line_of((word, FIRST))).hocr for word in ("Hello", "Größe")]
    image = np.full((300, 400, 3), 200, np.uint8)

    pdf = searchable_pdf(hocrs, iter([image, image]), resolution)

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


def texts(pdf: bytes) -> list[str]:
    with pypdfium2.PdfDocument(pdf) as document:
        return [page.get_textpage().get_text_bounded().strip() for page in document]
