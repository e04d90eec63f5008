"""Result lines, in the shapes of the Trace OCR API, and error lines.

msgspec instead of pydantic: lines are written and read once per item, ten million times a night. Geometry is
relative to the page, in 0..1: `[x_min, y_min, x_max, y_max]`, or the four corners as eight numbers if pages
are not assumed to be straight. Scores are in 0..1 and not rounded.
"""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from contract.errors import ErrorCode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON of the expected type."""

Geometry = tuple[float, ...]


class ResultLine(Protocol):
    """What the results of all kinds have in common.

    `id` is the item's id, `name` its file's name without folders, `label` its label in the manifest; `note`
    is set only if the image was not read in full. `metadata` has the source's further columns.
    """

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str | None: ...

    @property
    def note(self) -> str | None: ...

    @property
    def metadata(self) -> dict[str, Any] | None: ...


class RecognitionLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One crop's text; `confidence` is in 0..1, not rounded; a cascade says which `model` read it.

    `region` is the own id of a given region, or its name in a template. `angle` is by how many degrees,
    counter-clockwise, the crop was turned before it was read, if that was requested. If a person has
    corrected the text, `corrected_by` says who, and `value_read` what the model read.
    """

    id: str
    name: str
    value: str
    confidence: float
    label: str | None = None
    note: str | None = None
    model: str | None = None
    region: str | None = None
    angle: int | None = None
    metadata: dict[str, Any] | None = None
    value_read: str | None = None
    corrected_by: str | None = None


class ModelReading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one of the compared models read; of a cascade, `read_by` is the model that did."""

    model: str
    value: str
    confidence: float
    read_by: str | None = None


class CompareLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One crop's readings, one of each compared model, in the order of the job's `models`.

    `region` and `angle` are as in `RecognitionLine`.
    """

    id: str
    name: str
    readings: tuple[ModelReading, ...]
    label: str | None = None
    note: str | None = None
    region: str | None = None
    angle: int | None = None
    metadata: dict[str, Any] | None = None


V = TypeVar("V", float, str)


class Estimate(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """An orientation in degrees, or a language, with its confidence; None if not requested."""

    value: V | None = None
    confidence: float | None = None


class Word(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One word, its position and its orientation; `value_read` and `corrected_by` as in RecognitionLine."""

    value: str
    geometry: Geometry
    detection_score: float
    confidence: float
    text_orientation: Estimate[float]
    value_read: str | None = None
    corrected_by: str | None = None


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
    """The text of a page."""

    blocks: tuple[Block, ...]


class Field(msgspec.Struct, frozen=True):
    """The words of one of the detection model's classes."""

    field_type: str
    values: tuple[Word, ...]


class OcrLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page's result, as of `/ocr`; `page` counts from 1, `dimensions` is (height, width) in pixels."""

    id: str
    name: str
    page: int
    orientation: Estimate[float]
    language: Estimate[str]
    dimensions: tuple[int, int]
    pages: tuple[PageText]
    label: str | None = None
    note: str | None = None
    metadata: dict[str, Any] | None = None


class DetectionLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page's result, as of `/detection`."""

    id: str
    name: str
    page: int
    bounding_boxes: tuple[Geometry, ...]
    label: str | None = None
    note: str | None = None
    metadata: dict[str, Any] | None = None


class KieLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page's result, as of `/kie`."""

    id: str
    name: str
    page: int
    orientation: Estimate[float]
    language: Estimate[str]
    dimensions: tuple[int, int]
    extracted_fields: tuple[Field, ...]
    label: str | None = None
    note: str | None = None
    metadata: dict[str, Any] | None = None


class PageExport(msgspec.Struct, frozen=True):
    """One page of its document's exports, as docTR makes them: its text and its hOCR."""

    id: str
    text: str
    hocr: str


class WordBox(msgspec.Struct, frozen=True, gc=False):
    """A word with its box, or only a box: what views and samples show of a page's line."""

    geometry: Geometry
    value: str = ""
    confidence: float | None = None
    value_read: str | None = None
    corrected_by: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why an item has no result."""

    code: ErrorCode
    message: str


class ErrorLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item that could not be read; `attempts` counts the runs of its chunk."""

    id: str
    uri: str
    error: Failure
    attempts: int
    metadata: dict[str, Any] | None = None


Line = ResultLine | ErrorLine


def word_box(word: Word) -> WordBox:
    """Return the part of a word that views show."""
    return WordBox(word.geometry, word.value, word.confidence, word.value_read, word.corrected_by)


R = TypeVar("R", RecognitionLine, Word)


def corrected(reading: R, value: str, by: str) -> R:
    """Return a reading with the text that a person gave; what the model read is kept."""
    read = reading.value if reading.value_read is None else reading.value_read
    return msgspec.structs.replace(reading, value=value, value_read=read, corrected_by=by)


def encode_line(record: object) -> bytes:
    r"""Return the record as one JSON line, `\n` included."""
    return msgspec.json.encode(record) + b"\n"


def encode_lines(records: Sequence[object]) -> bytes:
    """Return the records as JSON lines, in one call: a tenth of the time of one call for each."""
    return _ENCODER.encode_lines(records)


_ENCODER = msgspec.json.Encoder()
