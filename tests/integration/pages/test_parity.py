"""What stands on a page is docTR's own: the worker's path against `ocr_predictor`, page by page.

The worker reads all pages as one chunk, so that batches of both models span pages; docTR reads each alone.
"""

from typing import Any

import msgspec
import pytest
from doctr.models import (
    kie_predictor,
    ocr_predictor,
)

from contract.kinds.detection import DetectionParameters
from contract.kinds.kie import KieParameters
from contract.kinds.ocr import OcrParameters
from contract.lines import OcrLine
from contract.model_store import ModelStore
from contract.records import Item
from tests.integration.pages.conftest import Line, ReadPages
from tests.integration.pages.doctrs import MODELS, doctrs_predictor, pixels_of, sample_items
from worker.kinds.page_lines import boxes_of, kie_line, ocr_line

GEOMETRY, SCORE = 1e-6, 1e-4
"""What geometries and scores may differ by."""


def assert_same(ours: Any, theirs: Any, where: str = "", key: str = "") -> None:
    """Equal text, shape and grouping; geometries and scores within their tolerances."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for name in theirs:
            assert_same(ours[name], theirs[name], f"{where}.{name}", name)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{where}[{index}]", key)
    elif isinstance(theirs, float) and key != "value":
        assert abs(ours - theirs) <= (GEOMETRY if key in ("geometry", "bounding_boxes") else SCORE), where
    else:
        assert ours == theirs, where


def words_of(line: Line) -> list[str]:
    return [
        word["value"]
        for block in line["pages"][0]["blocks"]
        for text_line in block["lines"]
        for word in text_line["words"]
    ]


def test_every_sample_page_is_as_doctr_reads_it_alone(read: ReadPages, doctrs: dict[str, Any]) -> None:
    parameters, items = OcrParameters(**MODELS), sample_items()  # type: ignore[arg-type]

    ours = read(items, parameters)

    for item, line in zip(items, ours, strict=True):
        theirs = ocr_line(doctrs[item.id], item, None)
        assert_same(line, msgspec.to_builtins(theirs), item.id)
    # and the comparison is no empty one
    assert all(len(words_of(line)) > 20 for line in ours)


@pytest.mark.parametrize(
    "changes",
    [
        {"assume_straight_pages": False},
        {"assume_straight_pages": False, "disable_page_orientation": True, "disable_text_orientation": True},
        {"detect_orientation": True, "detect_language": True},
        {"straighten_pages": True},
        {"straighten_pages": True, "assume_straight_pages": False, "detect_orientation": True},
        {"group_blocks": True, "preserve_aspect_ratio": False, "paragraph_break": 0.01},
        {"group_lines": False, "symmetric_padding": False, "binary_threshold": 0.3, "box_threshold": 0.5},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_every_parameter_means_what_it_means_to_doctr(
    changes: dict[str, Any], read: ReadPages, store: ModelStore, turned: list[Item]
) -> None:
    parameters = OcrParameters(**MODELS, **changes)

    ours = read(turned, parameters)

    predictor = doctrs_predictor(ocr_predictor, store, parameters)
    for item, line in zip(turned, ours, strict=True):
        page = predictor([pixels_of(item)]).pages[0]
        assert_same(line, msgspec.to_builtins(ocr_line(page, item, None)), item.id)
        assert len(words_of(line)) > 10


def test_the_fields_of_a_page_are_doctrs(read: ReadPages, store: ModelStore, turned: list[Item]) -> None:
    parameters = KieParameters(**MODELS, detect_language=True)  # type: ignore[arg-type]

    ours = read(turned, parameters)

    predictor = doctrs_predictor(kie_predictor, store, parameters)
    for item, line in zip(turned, ours, strict=True):
        page = predictor([pixels_of(item)]).pages[0]
        assert_same(line, msgspec.to_builtins(kie_line(page, item, None)), item.id)
        assert [field["field_type"] for field in line["extracted_fields"]] == ["words"]
        assert len(line["extracted_fields"][0]["values"]) > 10


@pytest.mark.parametrize("straight", [True, False])
def test_the_boxes_of_a_page_are_doctrs(
    straight: bool, read: ReadPages, store: ModelStore, turned: list[Item]
) -> None:
    parameters = DetectionParameters(
        detection_model="linknet_resnet18", detection_batch_size=3, assume_straight_pages=straight
    )

    ours = read(turned, parameters)

    ocr = OcrParameters(**MODELS, assume_straight_pages=straight)  # type: ignore[arg-type]
    detector = doctrs_predictor(ocr_predictor, store, ocr).det_predictor
    for item, line in zip(turned, ours, strict=True):
        (boxes,) = detector([pixels_of(item)])
        assert_same(line["bounding_boxes"], boxes_of(boxes), item.id, "bounding_boxes")
        assert len(line["bounding_boxes"]) > 10
        assert {len(box) for box in line["bounding_boxes"]} == {4 if straight else 8}


def test_the_batch_sizes_change_nothing(read: ReadPages) -> None:
    items = sample_items()[:3]
    one = OcrParameters(**MODELS, detection_batch_size=1, recognition_batch_size=7)  # type: ignore[arg-type]
    many = OcrParameters(**MODELS, detection_batch_size=4, recognition_batch_size=512)  # type: ignore[arg-type]

    assert_same(read(items, one), read(items, many))


def test_a_line_holds_all_that_the_contract_names(read: ReadPages) -> None:
    (line,) = read(sample_items()[:1], OcrParameters(**MODELS))  # type: ignore[arg-type]

    assert msgspec.convert(line, OcrLine).page == 1
    assert line["orientation"] == line["language"] == {"value": None, "confidence": None}
    assert line["dimensions"] == (1300, 1000)
    word = line["pages"][0]["blocks"][0]["lines"][0]["words"][0]
    assert set(word) == {"value", "geometry", "detection_score", "confidence", "text_orientation"}
    assert word["text_orientation"] == {"value": 0, "confidence": None}
