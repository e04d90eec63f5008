"""docTR's pages to the contract's lines: names, shapes and numbers."""

from typing import Any

import msgspec
import numpy as np
import pytest
from doctr.io import KIEPage, Page
from doctr.io.elements import Block, Line, Prediction, Word

from contract.lines import DetectionLine, Estimate, encode_line
from contract.records import Item
from worker.kinds.page_lines import boxes_of, kie_line, ocr_line

STRAIGHT = ((0.1, 0.2), (0.3, 0.4))
TURNED = np.array([[0.1, 0.2], [0.3, 0.2], [0.3, 0.4], [0.1, 0.4]], np.float32)

UPRIGHT = {"value": 0, "confidence": None}
NOT_ASKED_FOR = {"value": None, "confidence": None}

ITEM = Item("scans/a.pdf#page=2", "s3://bucket/scans/a.pdf", page=2)


def word_of(value: str, geometry: Any = STRAIGHT, turned: Any = UPRIGHT) -> Word:
    return Word(value, 0.987654321, geometry, 0.87654321, turned)


def page_of(*lines: list[Word]) -> Page:
    """Return a page of one block of the lines."""
    text_lines = [Line(words, STRAIGHT, 0.5) for words in lines]
    blocks = [Block(text_lines, geometry=STRAIGHT, objectness_score=0.25)]
    return Page(np.zeros((0, 0, 3), np.uint8), blocks, 1, (1300, 1000))


def kie_page_of(predictions: dict[str, list[Prediction]]) -> KIEPage:
    return KIEPage(np.zeros((0, 0, 3), np.uint8), predictions, 1, (1300, 1000))


def as_json(line: msgspec.Struct) -> Any:
    return msgspec.json.decode(encode_line(line))


class TestOcr:
    def test_a_line_has_the_contracts_shape(self) -> None:
        line = ocr_line(page_of([word_of("Hello")]), ITEM, None)

        assert as_json(line) == {
            "id": "scans/a.pdf#page=2",
            "name": "a.pdf",
            "page": 2,
            "orientation": NOT_ASKED_FOR,
            "language": NOT_ASKED_FOR,
            "dimensions": [1300, 1000],
            "pages": [
                {
                    "blocks": [
                        {
                            "geometry": [0.1, 0.2, 0.3, 0.4],
                            "detection_score": 0.25,
                            "lines": [
                                {
                                    "geometry": [0.1, 0.2, 0.3, 0.4],
                                    "detection_score": 0.5,
                                    "words": [
                                        {
                                            "value": "Hello",
                                            "geometry": [0.1, 0.2, 0.3, 0.4],
                                            "detection_score": 0.87654321,
                                            "confidence": 0.987654321,
                                            "text_orientation": UPRIGHT,
                                        }
                                    ],
                                }
                            ],
                        }
                    ]
                }
            ],
        }

    def test_lines_and_words_keep_their_order(self) -> None:
        line = ocr_line(page_of([word_of("a"), word_of("b")], [word_of("c")]), ITEM, None)

        (block,) = line.pages[0].blocks
        assert [[word.value for word in text_line.words] for text_line in block.lines] == [["a", "b"], ["c"]]

    def test_corners_are_eight_numbers(self) -> None:
        line = ocr_line(page_of([word_of("a", TURNED)]), ITEM, None)

        word = line.pages[0].blocks[0].lines[0].words[0]
        assert word.geometry == pytest.approx((0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.1, 0.4))

    def test_numbers_of_numpy_become_plain_ones(self) -> None:
        # given what docTR's models give, which JSON does not know
        word = Word("a", np.float32(0.5), ((np.float32(0), np.float64(0)), (1, 1)), np.float64(0.25), UPRIGHT)

        written = as_json(ocr_line(page_of([word]), ITEM, None))

        (read,) = written["pages"][0]["blocks"][0]["lines"][0]["words"]
        assert (read["geometry"], read["confidence"], read["detection_score"]) == ([0, 0, 1, 1], 0.5, 0.25)

    def test_estimates_are_there_where_they_were_asked_for(self) -> None:
        orientation = {"value": -90, "confidence": None}
        language = {"value": "en", "confidence": 0.99}
        page = page_of([word_of("a", turned={"value": 180, "confidence": 0.75})])
        page.orientation, page.language = orientation, language

        line = ocr_line(page, ITEM, None)

        assert (line.orientation, line.language) == (Estimate(-90), Estimate("en", 0.99))
        assert line.pages[0].blocks[0].lines[0].words[0].text_orientation == Estimate(180, 0.75)

    def test_a_page_without_words_has_no_blocks(self) -> None:
        page = Page(np.zeros((0, 0, 3), np.uint8), [], 1, (1300, 1000))

        assert as_json(ocr_line(page, ITEM, None))["pages"] == [{"blocks": []}]


class TestKie:
    def test_a_line_has_the_contracts_shape(self) -> None:
        words = [Prediction("Hello", 0.9, STRAIGHT, 0.8, UPRIGHT)]

        line = kie_line(kie_page_of({"words": words, "dates": []}), ITEM, None)

        assert as_json(line) == {
            "id": "scans/a.pdf#page=2",
            "name": "a.pdf",
            "page": 2,
            "orientation": NOT_ASKED_FOR,
            "language": NOT_ASKED_FOR,
            "dimensions": [1300, 1000],
            "extracted_fields": [
                {
                    "field_type": "words",
                    "values": [
                        {
                            "value": "Hello",
                            "geometry": [0.1, 0.2, 0.3, 0.4],
                            "detection_score": 0.8,
                            "confidence": 0.9,
                            "text_orientation": UPRIGHT,
                        }
                    ],
                },
                {"field_type": "dates", "values": []},
            ],
        }


class TestDetection:
    def test_boxes_are_four_numbers_without_their_scores(self) -> None:
        boxes = {"words": np.array([[0.25, 0.5, 0.75, 1, 0.9], [0, 0, 0.5, 0.25, 0.8]], np.float32)}

        assert boxes_of(boxes) == ((0.25, 0.5, 0.75, 1.0), (0.0, 0.0, 0.5, 0.25))

    def test_corners_are_eight_numbers_without_their_scores(self) -> None:
        # given docTR's shape: four corners, and a score in a row of its own
        corners = [[0, 0], [0.5, 0], [0.5, 0.25], [0, 0.25], [0, 0.9]]

        assert boxes_of({"words": np.array([corners], np.float32)}) == ((0, 0, 0.5, 0, 0.5, 0.25, 0, 0.25),)

    def test_those_of_all_classes_follow_one_another(self) -> None:
        one, other = np.full((1, 5), 0.25, np.float32), np.full((2, 5), 0.5, np.float32)

        assert boxes_of({"words": one, "dates": other}) == ((0.25,) * 4, (0.5,) * 4, (0.5,) * 4)

    @pytest.mark.parametrize("shape", [(0, 5), (0, 5, 2)])
    def test_no_boxes(self, shape: tuple[int, ...]) -> None:
        assert boxes_of({"words": np.zeros(shape, np.float32)}) == ()


class TestAllLines:
    def test_what_is_written_is_read_as_it_was(self) -> None:
        lines = (
            ocr_line(page_of([word_of("é\u2028")]), ITEM, None),
            kie_line(kie_page_of({"words": []}), ITEM, "first of 2 frames"),
            DetectionLine(ITEM.id, "a.pdf", 2, ((0.0, 0.0, 0.5, 0.5),), "invoice"),
        )

        for line in lines:
            written = encode_line(line)

            assert msgspec.json.decode(written, type=type(line)) == line
            assert written.count(b"\n") == 1

    @pytest.mark.parametrize("make", [ocr_line, kie_line])
    def test_label_and_note_are_there_where_there_are_any(self, make: Any) -> None:
        page = page_of([]) if make is ocr_line else kie_page_of({})
        labelled = msgspec.structs.replace(ITEM, label="invoice")

        assert not {"label", "note"} & set(as_json(make(page, ITEM, None)))
        line = as_json(make(page, labelled, "first of 2 frames"))
        assert (line["label"], line["note"]) == ("invoice", "first of 2 frames")

    @pytest.mark.parametrize("make", [ocr_line, kie_line])
    def test_an_image_is_page_one_of_itself(self, make: Any) -> None:
        page = page_of([]) if make is ocr_line else kie_page_of({})

        assert make(page, Item("a.png", "/scans/a.png"), None).page == 1
