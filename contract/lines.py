"""The lines of page jobs, in the shapes of the contract.

Geometry is relative to the page, in 0..1: `[x_min, y_min, x_max, y_max]`, or the four corners as eight
numbers where pages are not assumed to be straight. Scores are in 0..1 and not rounded.
"""

import msgspec

Geometry = tuple[float, ...]


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """An orientation in degrees, or a language, and how sure that is; None where it was not asked for."""

    value: float | str | None = None
    confidence: float | None = None


class Word(msgspec.Struct, frozen=True, gc=False):
    """One word, where it was found and how it was turned."""

    value: str
    geometry: Geometry
    detection_score: float
    confidence: float
    text_orientation: Estimate


class TextLine(msgspec.Struct, frozen=True):
    """Words side by side."""

    geometry: Geometry
    detection_score: float
    words: tuple[Word, ...]


class Block(msgspec.Struct, frozen=True):
    """Lines that belong together."""

    geometry: Geometry
    detection_score: float
    lines: tuple[TextLine, ...]


class PageText(msgspec.Struct, frozen=True):
    """What stands on a page."""

    blocks: tuple[Block, ...]


class Field(msgspec.Struct, frozen=True):
    """The words of one of the detection model's classes."""

    field_type: str
    values: tuple[Word, ...]


class OcrLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page as `/ocr` gives it; `page` is counted from 1, `dimensions` are (height, width) in pixels."""

    id: str
    name: str
    page: int
    orientation: Estimate
    language: Estimate
    dimensions: tuple[int, int]
    pages: tuple[PageText]
    label: str | None = None
    note: str | None = None


class DetectionLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page as `/detection` gives it."""

    id: str
    name: str
    page: int
    bounding_boxes: tuple[Geometry, ...]
    label: str | None = None
    note: str | None = None


class KieLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page as `/kie` gives it."""

    id: str
    name: str
    page: int
    orientation: Estimate
    language: Estimate
    dimensions: tuple[int, int]
    extracted_fields: tuple[Field, ...]
    label: str | None = None
    note: str | None = None


class PageExport(msgspec.Struct, frozen=True):
    """One page's share of its document's exports, as docTR makes them: its text, and hOCR of its own."""

    id: str
    text: str
    hocr: str


PageLine = OcrLine | DetectionLine | KieLine
