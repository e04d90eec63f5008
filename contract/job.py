"""The job: its parameters under the contract's names and defaults, and what `job.json` holds."""

import re
import secrets
import time
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import JobError

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

DEFAULT_CHUNK_SIZE = 1024
"""Crops in a chunk: a minute or less of work, so a killed worker costs little and Redis stays small."""

MAX_CHUNK_SIZE = 65_536
"""Items in a chunk at most: one chunk's items and lines are held in memory."""

MAX_BATCH_SIZE = 4096
"""Crops read at once at most: past some hundreds even a large card gains nothing more."""

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


class Source(BaseModel):
    """Where the items come from; `uri` is an absolute path, an s3:// URI, or `-` for standard input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["folder", "s3", "manifest"]
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
    kind: Literal["recognition"] = "recognition"
    parameters: RecognitionParameters
    source: Source
    chunk_size: int = Field(DEFAULT_CHUNK_SIZE, ge=1, le=MAX_CHUNK_SIZE)
    urgent: bool = False
    planned_by: Literal["submit", "control"] = "submit"
    created_at: int
    plan: Plan | None = None
    retries: tuple[Retry, ...] = ()

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
