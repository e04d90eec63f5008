"""Given regions are read as docTR reads what it finds: its own boxes, fed back, give its own strings."""

from typing import Any

import numpy as np
import pytest
from doctr.io import DocumentFile
from doctr.models import crop_orientation_predictor, ocr_predictor, recognition_predictor
from doctr.models.predictor.base import _OCRPredictor

from contract.kinds.compare import CompareParameters
from contract.kinds.ocr import OcrParameters
from contract.kinds.recognition import RecognitionParameters
from contract.model_store import ModelStore
from contract.records import Item
from contract.region import Unit, region_of
from tests.integration.pages.conftest import Line, ReadPages
from tests.integration.pages.doctrs import CPU, MODELS, SAMPLES, doctrs_predictor, pixels_of
from worker.models.doctr_models import load_model
from worker.models.orientation import CROP_ORIENTATION

MODEL = MODELS["recognition_model"]

CONFIDENCE = 1e-4
"""What confidences may differ by."""

Words = tuple[Any, list[tuple[str, float]], list[int]]
"""docTR's boxes on a page, what it read in them, and by how many degrees it turned each crop."""


def doctrs_words(page: Any, store: ModelStore, *, straight: bool) -> Words:
    """Return what docTR finds and reads, in the order of its detection."""
    parameters = OcrParameters(**MODELS, assume_straight_pages=straight)  # type: ignore[arg-type]
    predictor = doctrs_predictor(ocr_predictor, store, parameters)
    (found,) = predictor.det_predictor([page])
    (boxes,) = found.values()
    build, built = predictor.doc_builder, []

    def noted(*arguments: Any) -> Any:
        built.append(arguments)
        return build(*arguments)

    predictor.doc_builder = noted
    predictor([page])
    ((_, _, _, (strings,), _, (turned,), *_),) = built
    assert len(boxes) == len(strings) > 20
    return boxes[:, :4], strings, [one["value"] for one in turned]


def regions_of(item: Item, boxes: Any, unit: Unit = "rel") -> list[Item]:
    regions = [region_of(box.tolist(), unit, str(number)) for number, box in enumerate(boxes)]
    return [Item(f"{item.id}&r={one.name}", item.uri, page=item.page, region=one) for one in regions]


def assert_same(ours: list[Line], theirs: list[tuple[str, float]]) -> None:
    assert [line["value"] for line in ours] == [value for value, _ in theirs]
    sure = pytest.approx([confidence for _, confidence in theirs], abs=CONFIDENCE)
    assert [line["confidence"] for line in ours] == sure


@pytest.mark.parametrize("unit", ["rel", "px"])
@pytest.mark.parametrize("name", ["receipt.png", "ledger.pdf"])
def test_the_boxes_of_a_straight_page_have_doctrs_strings(
    name: str, unit: Unit, read: ReadPages, store: ModelStore
) -> None:
    item = Item(name, str(SAMPLES / "pages" / name), page=1 if name.endswith(".pdf") else None)
    page = pixels_of(item)
    boxes, strings, _ = doctrs_words(page, store, straight=True)
    if unit == "px":
        # As docTR rounds them: the last row and column belong to a word.
        boxes = (boxes * np.tile(page.shape[1::-1], 2)).round().astype(int)
        boxes[:, 2:] += 1

    lines = read(regions_of(item, boxes, unit), RecognitionParameters(recognition_model=MODEL))

    assert_same(lines, strings)
    assert [line["region"] for line in lines] == [str(number) for number in range(len(lines))]


def test_the_polygons_of_a_turned_page_have_doctrs_strings(
    read: ReadPages, store: ModelStore, turned: list[Item]
) -> None:
    parameters = RecognitionParameters(recognition_model=MODEL, detect_orientation=True)
    for item in turned:
        polygons, strings, angles = doctrs_words(pixels_of(item), store, straight=False)

        lines = read(regions_of(item, polygons), parameters)

        assert_same(lines, strings)
        assert [line["angle"] for line in lines] == angles
        assert any(angles)


def test_models_are_compared_on_regions(read: ReadPages, store: ModelStore, turned: list[Item]) -> None:
    item = turned[0]
    polygons, strings, angles = doctrs_words(pixels_of(item), store, straight=False)
    models = f"{MODEL},mobilenet-2025,{MODEL}>mobilenet-2025@0.5"

    lines = read(regions_of(item, polygons), CompareParameters(models=models, detect_orientation=True))  # type: ignore[arg-type]

    assert_same([line["readings"][0] for line in lines], strings)
    assert [line["angle"] for line in lines] == angles
    assert len(lines[0]["readings"]) == 3


def test_crops_are_turned_as_doctr_turns_words(read: ReadPages, store: ModelStore) -> None:
    files = sorted((SAMPLES / "crops").glob("*.png"))[:140]
    orientation, _ = load_model("orientation", CROP_ORIENTATION, store, CPU)
    recognition, _ = load_model("recognition", MODEL, store, CPU)
    theirs = _OCRPredictor()
    theirs.crop_orientation_predictor = crop_orientation_predictor(orientation)
    crops = DocumentFile.from_images(files)
    (upright,), _, found = theirs._rectify_crops([crops], [np.zeros((len(crops), 4, 2))])

    lines = read(
        [Item(path.name, str(path)) for path in files],
        RecognitionParameters(recognition_model=MODEL, detect_orientation=True),
    )

    assert [line["angle"] for line in lines] == [angle for angle, _ in found]
    assert_same(lines, recognition_predictor(recognition)(upright))
