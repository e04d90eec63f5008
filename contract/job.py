"""The job: its parameters under the contract's names and defaults, and what `job.json` holds."""

import copy
import re
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from contract.errors import JobError

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

Export = Literal["txt", "hocr", "pdf"]
EXPORTS: tuple[Export, ...] = get_args(Export)

DEFAULT_CHUNK_SIZE: dict[Kind, int] = {"recognition": 1024, "ocr": 32, "detection": 32, "kie": 32}
"""Items in a chunk: a minute or less of work, so a killed worker costs little and Redis stays small."""

MAX_CHUNK_SIZE = 65_536
"""Items in a chunk at most: one chunk's items and lines are held in memory."""

MAX_BATCH_SIZE = 4096
"""Crops read at once at most: past some hundreds even a large card gains nothing more."""

MAX_PAGE_BATCH_SIZE = 256
"""Pages read at once at most: each is 3 MB as bytes, 12 MB as floats."""

PDF_RESOLUTION = 144
"""Dots per inch at which PDF pages are rendered: docTR's scale of 2 pixels per point."""

STANDARD_INPUT = "-"
"""The URI of a source that is a manifest on standard input."""

JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


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


class Source(BaseModel):
    """Where the items come from; `uri` is an absolute path, an s3:// URI, or `-` for standard input.

    A `file` is one image or document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["folder", "s3", "manifest", "file"]
    uri: str = Field(min_length=1, max_length=4096)


class Plan(BaseModel):
    """The totals of a finished plan; `passed_over` counts what was seen and not planned, by reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunks: int
    items: int
    passed_over: dict[str, int] = {}


class Retry(BaseModel):
    """One round of retry-errors: further chunks, numbered on, with the items that had failed till then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_chunk: int
    chunks: int
    items: int


class Job(BaseModel):
    """One job as `job.json` holds it; `plan` is there once planning has ended. Times are Unix seconds.

    `planned_by` says who reads the source: the command that submitted it, or, over HTTP, control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=JOB_ID)]
    kind: Kind = "recognition"
    parameters: SerializeAsAny[Parameters]
    exports: tuple[Export, ...] = ()
    source: Source
    chunk_size: int = Field(ge=1, le=MAX_CHUNK_SIZE)
    urgent: bool = False
    planned_by: Literal["submit", "control"] = "submit"
    created_at: int
    plan: Plan | None = None
    retries: tuple[Retry, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _parameters_of_its_kind(cls, values: Any) -> Any:
        """Read the parameters as those of the job's kind, since several kinds share names."""
        kind = values.get("kind", "recognition") if isinstance(values, dict) else None
        if kind not in KINDS:
            return values
        given = {"chunk_size": DEFAULT_CHUNK_SIZE[kind], **values}
        if isinstance(given.get("parameters"), dict):
            given["parameters"] = PARAMETERS[kind].model_validate(given["parameters"])
        return given

    @model_validator(mode="after")
    def _agree(self) -> "Job":
        if type(self.parameters) is not PARAMETERS[self.kind]:
            raise ValueError(f"the parameters are not those of the kind {self.kind}")
        if self.exports and self.kind != "ocr":
            raise ValueError(f"exports are made of ocr jobs, not of {self.kind}")
        return self

    @property
    def chunks(self) -> int:
        """Chunks in all, those of the retries included; 0 until the plan has ended."""
        return (self.plan.chunks if self.plan else 0) + sum(retry.chunks for retry in self.retries)

    def is_retry(self, chunk: int) -> bool:
        """Return whether a chunk reads items anew that an earlier one has counted."""
        return self.plan is not None and chunk >= self.plan.chunks

    def identity(self) -> dict[str, object]:
        """Return what two jobs must share to be one job: all that decides the results' lines."""
        return {
            "kind": self.kind,
            "source": self.source.uri,
            "chunk_size": self.chunk_size,
            "exports": self.exports,
            **self.parameters.model_dump(),
        }

    def to_json(self) -> bytes:
        """Return the bytes of `job.json`."""
        return self.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


def parse_job(data: bytes, where: str) -> Job:
    """Return the job that a `job.json` holds.

    Raises:
        JobError: the file is not a valid job
    """
    try:
        return Job.model_validate_json(data)
    except ValidationError as error:
        raise JobError(
            f"{where} is not a job this version understands: {error.errors(include_url=False)[0]['msg']}. "
            "Use another workspace."
        ) from error


def new_job_id(source_uri: str, now: float | None = None) -> str:
    """Return an id a person recognises: the source's last name, the day, four random hex digits."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", source_uri.rstrip("/").rpartition("/")[2]).strip("-")[:40] or "job"
    day = time.strftime("%Y%m%d", time.gmtime(now))
    return f"{name}-{day}-{secrets.token_hex(2)}"
