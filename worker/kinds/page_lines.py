"""Convert docTR's pages to the shapes of the Trace OCR API; all numbers are docTR's, none is rounded."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.lines import Block, Estimate, Field, Geometry, KieLine, OcrLine, PageText, TextLine, Word
from contract.records import Item
from worker.pipeline.run import name_of


def ocr_line(page: Any, item: Item, note: str | None) -> OcrLine:
    """Return the `/ocr` line of a `doctr.io.Page`."""
    blocks = tuple(
        Block(
            _flat(block.geometry),
            float(block.objectness_score),
            tuple(
                TextLine(_flat(line.geometry), float(line.objectness_score), _words(line.words))
                for line in block.lines
            ),
        )
        for block in page.blocks
    )
    return OcrLine(
        item.id,
        name_of(item),
        item.page or 1,
        _estimate(page.orientation),
        _estimate(page.language),
        page.dimensions,
        (PageText(blocks),),
        item.label,
        note,
    )


def kie_line(page: Any, item: Item, note: str | None) -> KieLine:
    """Return the `/kie` line of a `doctr.io.KIEPage`."""
    return KieLine(
        item.id,
        name_of(item),
        item.page or 1,
        _estimate(page.orientation),
        _estimate(page.language),
        page.dimensions,
        tuple(Field(kind, _words(words)) for kind, words in page.predictions.items()),
        item.label,
        note,
    )


def boxes_of(boxes: Mapping[str, npt.NDArray[np.float32]]) -> tuple[Geometry, ...]:
    """Return the geometries of boxes with scores, (n, 5) or (n, 5, 2), of all classes."""
    return tuple(
        tuple(float(value) for value in box[:-1].ravel()) for found in boxes.values() for box in found
    )


def _words(words: Iterable[Any]) -> tuple[Word, ...]:
    return tuple(
        Word(
            word.value,
            _flat(word.geometry),
            float(word.objectness_score),
            float(word.confidence),
            _estimate(word.crop_orientation),
        )
        for word in words
    )


def _flat(geometry: Iterable[Iterable[float]]) -> Geometry:
    return tuple(float(value) for point in geometry for value in point)


def _estimate(given: Mapping[str, Any] | None) -> Estimate[Any]:
    """Return docTR's value and confidence; None for both if not requested."""
    given = given or {}
    return Estimate(given.get("value"), given.get("confidence"))
