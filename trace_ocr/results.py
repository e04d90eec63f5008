"""What uploads are answered: one result per image, page or region, in the shapes of the Trace OCR API.

They are the lines of jobs without `id` and `label`, and their scores are rounded to two decimals. Geometry is
relative to the page, in 0..1: `(x_min, y_min, x_max, y_max)`, or four corners as eight numbers if pages are
not assumed to be straight.
"""

import msgspec

from contract.lines import Estimate, Failure, Field, Geometry, ModelReading, PageText


class RecognitionResult(msgspec.Struct, frozen=True):
    """The text of one crop; `confidence` is in 0..1; of a cascade, `model` is the one that read it.

    `region` is the name of a given region; if its image does not have it, `error` says why, and there is no
    text. `angle` is by how many degrees, counter-clockwise, the crop was turned, if that was requested.
    """

    name: str
    value: str = ""
    confidence: float = 0.0
    model: str | None = None
    region: str | None = None
    angle: int | None = None
    error: Failure | None = None


class CompareResult(msgspec.Struct, frozen=True):
    """What each of the compared models read out of one crop, in the order of the `models` parameter.

    `region`, `angle` and `error` are as in RecognitionResult.
    """

    name: str
    readings: tuple[ModelReading, ...] = ()
    note: str | None = None
    region: str | None = None
    angle: int | None = None
    error: Failure | None = None


class OcrResult(msgspec.Struct, frozen=True):
    """The text of one page in blocks, lines and words.

    `page` is counted from 1, `dimensions` are (height, width) in pixels; `note` is there only if the image
    was not read whole.
    """

    name: str
    page: int
    orientation: Estimate[float]
    language: Estimate[str]
    dimensions: tuple[int, int]
    pages: tuple[PageText]
    note: str | None = None


class DetectionResult(msgspec.Struct, frozen=True):
    """The boxes of one page's words; `page` and `note` as in OcrResult."""

    name: str
    page: int
    bounding_boxes: tuple[Geometry, ...]
    note: str | None = None


class KieResult(msgspec.Struct, frozen=True):
    """The words of one page by the detection model's classes; the rest as in OcrResult."""

    name: str
    page: int
    orientation: Estimate[float]
    language: Estimate[str]
    dimensions: tuple[int, int]
    extracted_fields: tuple[Field, ...]
    note: str | None = None
