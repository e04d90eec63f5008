"""The kinds of jobs and their parameters, under the contract's names and defaults."""

import copy
from typing import TYPE_CHECKING, Any, Literal, Optional, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model

PageKind = Literal["ocr", "detection", "kie"]
Kind = Literal["recognition", PageKind]
"""What a job reads: crops to text; or pages to text, to boxes, to fields."""

KINDS: tuple[Kind, ...] = get_args(Kind)
PAGE_KINDS: tuple[PageKind, ...] = get_args(PageKind)

RecognitionModel = Literal[
    "crnn_vgg16_bn",
    "crnn_mobilenet_v3_small",
    "crnn_mobilenet_v3_large",
    "sar_resnet31",
    "master",
    "vitstr_small",
    "vitstr_base",
    "parseq",
    "viptr_tiny",
]
RECOGNITION_MODELS: tuple[str, ...] = get_args(RecognitionModel)

DetectionModel = Literal[
    "db_resnet50",
    "db_resnet34",
    "db_mobilenet_v3_large",
    "linknet_resnet18",
    "linknet_resnet34",
    "linknet_resnet50",
    "fast_tiny",
    "fast_small",
    "fast_base",
]
DETECTION_MODELS: tuple[str, ...] = get_args(DetectionModel)

ORIENTATION_MODELS = ("mobilenet_v3_small_crop_orientation", "mobilenet_v3_small_page_orientation")
"""docTR's classifiers of how words, and how pages, are turned; jobs do not choose among them."""

MODEL_TASKS: dict[str, tuple[str, ...]] = {
    "recognition": RECOGNITION_MODELS,
    "detection": DETECTION_MODELS,
    "orientation": ORIENTATION_MODELS,
}
"""Architectures by what they do."""

MAX_BATCH_SIZE = 4096
"""Crops read at once at most: past some hundreds even a large card gains nothing more."""

MAX_PAGE_BATCH_SIZE = 256
"""Pages read at once at most: each is 3 MB as bytes, 12 MB as floats."""

PDF_RESOLUTION = 144
"""Dots per inch at which PDF pages are rendered: docTR's scale of 2 pixels per point."""


class RecognitionParameters(BaseModel):
    """Parameters of `/recognition`, with the contract's names and defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recognition_model: RecognitionModel = Field(
        "crnn_vgg16_bn", description="recognition architecture: " + ", ".join(RECOGNITION_MODELS)
    )
    recognition_batch_size: int = Field(
        128,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="crops the model reads at once; lower it when memory is short",
    )


class DetectionParameters(BaseModel):
    """Parameters of `/detection`, with the contract's names and defaults; `pdf_resolution` is ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detection_model: DetectionModel = Field(
        "db_resnet50", description="detection architecture: " + ", ".join(DETECTION_MODELS)
    )
    detection_batch_size: int = Field(
        2, ge=1, le=MAX_PAGE_BATCH_SIZE, description="pages the detection model reads at once"
    )
    assume_straight_pages: bool = Field(
        True, description="text runs along the page's sides; if not, boxes are polygons of four corners"
    )
    preserve_aspect_ratio: bool = Field(True, description="pad pages instead of stretching them")
    symmetric_padding: bool = Field(True, description="pad pages on both sides instead of one")
    binary_threshold: float = Field(
        0.1, ge=0, le=1, allow_inf_nan=False, description="least probability of a pixel to belong to text"
    )
    box_threshold: float = Field(
        0.1, ge=0, le=1, allow_inf_nan=False, description="least detection score of a box"
    )
    pdf_resolution: int = Field(
        PDF_RESOLUTION, ge=18, le=1200, description="dots per inch at which PDF pages are rendered"
    )


class KieParameters(DetectionParameters, RecognitionParameters):
    """Parameters of `/kie`, with the contract's names and defaults."""

    detect_orientation: bool = Field(False, description="say how far each page is turned")
    detect_language: bool = Field(False, description="say which language each page is in")
    straighten_pages: bool = Field(False, description="turn pages upright before they are read")
    disable_page_orientation: bool = Field(False, description="take pages for upright instead of classifying")
    disable_text_orientation: bool = Field(False, description="take words for upright instead of classifying")


class OcrParameters(KieParameters):
    """Parameters of `/ocr`, with the contract's names and defaults."""

    group_lines: bool = Field(True, description="group words into lines")
    group_blocks: bool = Field(False, description="group lines into blocks")
    paragraph_break: float = Field(
        0.035,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="least gap between two words that ends a line, as a share of the page's width",
    )


Parameters = RecognitionParameters | DetectionParameters

PARAMETERS: dict[Kind, type[Parameters]] = {
    "recognition": RecognitionParameters,
    "ocr": OcrParameters,
    "detection": DetectionParameters,
    "kie": KieParameters,
}


def optional_fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's fields for `create_model`: none is required, none has a default of its own."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        optional = copy.copy(field)
        optional.default = None
        fields[name] = (Optional[field.annotation], optional)  # noqa: UP045 - the annotation is a value here
    return fields


if TYPE_CHECKING:
    GivenParameters = BaseModel
else:
    GivenParameters = create_model("GivenParameters", **optional_fields(OcrParameters))
"""Those parameters of a call that it names; any may be left out."""
