"""Lines of pages: the contract's shapes, and back."""

from typing import Any

import msgspec
import pytest

from contract.lines import (
    Block,
    DetectionLine,
    Estimate,
    Field,
    KieLine,
    OcrLine,
    PageText,
    ResultLine,
    TextLine,
    Word,
    encode_line,
)
from contract.records import failure_of, identity_of, part_outcome

BOX = (0.1, 0.2, 0.30000000000000004, 1.0)
CORNERS = (0.1, 0.2, 0.9, 0.2, 0.9, 0.4, 0.1, 0.4)
NOTHING = Estimate()

WORD = Word("Hello", BOX, 0.9712345, 0.9912345, NOTHING)
TURNED = Word("zwei\nZeilen 画像", CORNERS, 1.0, 0.0, Estimate(-90, 0.75))

OCR = OcrLine(
    "scans/a.pdf#page=2",
    "a.pdf",
    2,
    Estimate(0.0, 0.99),
    Estimate("en", 0.98),
    (297, 210),
    (PageText((Block(BOX, 0.97, (TextLine(BOX, 0.97, (WORD, TURNED)),)),)),),
)
DETECTION = DetectionLine("a.png", "a.png", 1, (BOX, CORNERS))
KIE = KieLine(
    "a.png", "a.png", 1, NOTHING, NOTHING, (297, 210), (Field("words", (WORD,)), Field("dates", ()))
)

LINES: tuple[ResultLine, ...] = (OCR, DETECTION, KIE)


@pytest.mark.parametrize("line", LINES, ids=["ocr", "detection", "kie"])
class TestEveryKind:
    def test_a_line_gives_back_the_same_page(self, line: ResultLine) -> None:
        assert msgspec.json.decode(encode_line(line), type=type(line)) == line

    def test_it_is_one_line_for_any_text_on_the_page(self, line: ResultLine) -> None:
        encoded = encode_line(line)

        assert encoded.count(b"\n") == 1
        assert encoded.endswith(b"\n")

    def test_it_is_a_result_of_its_item(self, line: ResultLine) -> None:
        encoded = encode_line(line)

        assert (identity_of(encoded), failure_of(encoded)) == (line.id, None)
        assert part_outcome([encoded]).completed == 1

    def test_label_and_note_are_there_only_where_there_are_any(self, line: ResultLine) -> None:
        told = msgspec.structs.replace(line, label="truth", note="not read whole")

        assert {"label", "note"}.isdisjoint(msgspec.json.decode(encode_line(line)))
        assert msgspec.json.decode(encode_line(told))["label"] == "truth"
        assert msgspec.json.decode(encode_line(told), type=type(line)) == told


def shape_of(line: ResultLine) -> Any:
    return msgspec.json.decode(encode_line(line))


class TestShapes:
    def test_ocr_has_blocks_of_lines_of_words(self) -> None:
        words = [
            {
                "value": "Hello",
                "geometry": [0.1, 0.2, 0.30000000000000004, 1.0],
                "detection_score": 0.9712345,
                "confidence": 0.9912345,
                "text_orientation": {"value": None, "confidence": None},
            },
            {
                "value": "zwei\nZeilen 画像",
                "geometry": list(CORNERS),
                "detection_score": 1.0,
                "confidence": 0.0,
                "text_orientation": {"value": -90, "confidence": 0.75},
            },
        ]
        line = {"geometry": list(BOX), "detection_score": 0.97, "words": words}
        block = {"geometry": list(BOX), "detection_score": 0.97, "lines": [line]}

        assert shape_of(OCR) == {
            "id": "scans/a.pdf#page=2",
            "name": "a.pdf",
            "page": 2,
            "orientation": {"value": 0.0, "confidence": 0.99},
            "language": {"value": "en", "confidence": 0.98},
            "dimensions": [297, 210],
            "pages": [{"blocks": [block]}],
        }

    def test_detection_has_boxes(self) -> None:
        assert shape_of(DETECTION) == {
            "id": "a.png",
            "name": "a.png",
            "page": 1,
            "bounding_boxes": [list(BOX), list(CORNERS)],
        }

    def test_kie_has_fields_and_null_for_what_was_not_asked_for(self) -> None:
        found = shape_of(KIE)

        assert list(found) == [
            "id",
            "name",
            "page",
            "orientation",
            "language",
            "dimensions",
            "extracted_fields",
        ]
        assert found["orientation"] == found["language"] == {"value": None, "confidence": None}
        assert [(field["field_type"], len(field["values"])) for field in found["extracted_fields"]] == [
            ("words", 1),
            ("dates", 0),
        ]

    def test_an_empty_page_keeps_its_fields(self) -> None:
        empty = OcrLine("a", "a", 1, NOTHING, NOTHING, (9, 9), (PageText(()),))

        assert shape_of(empty)["pages"] == [{"blocks": []}]
        assert shape_of(DetectionLine("a", "a", 1, ()))["bounding_boxes"] == []
        assert shape_of(KieLine("a", "a", 1, NOTHING, NOTHING, (9, 9), ()))["extracted_fields"] == []
