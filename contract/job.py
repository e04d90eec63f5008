"""The job: what `job.json` holds."""

import re
import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from contract.errors import JobError
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS, KindName
from contract.kinds.base import Parameters

Export = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
"""A result format besides JSONL; which there are, `producer.results.sinks` says."""

MAX_EXPORTS = 16
"""Formats of one job: more than there are."""

MAX_CHUNK_SIZE = 65_536
"""Items in a chunk at most: one chunk's items and lines are held in memory."""

STANDARD_INPUT = "-"
"""The URI of a source that is a manifest on standard input."""


class Source(BaseModel):
    """Where the items come from; `uri` is an absolute path, a remote URI, or `-` for standard input.

    `type` names a module of `producer.sources`. Every item of a `confined` source lies at or below its URI,
    so that workers refuse a link that leads out of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    uri: str = Field(min_length=1, max_length=4096)
    confined: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, values: Any) -> Any:
        """Read what version 0.1 wrote: prefixes were of type s3, and only manifests were not confined."""
        if isinstance(values, dict) and "confined" not in values:
            kind = values.get("type")
            return {**values, "type": "prefix" if kind == "s3" else kind, "confined": kind != "manifest"}
        return values


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
    kind: KindName = DEFAULT_KIND
    parameters: SerializeAsAny[Parameters]
    exports: Annotated[tuple[Export, ...], Field(max_length=MAX_EXPORTS)] = ()
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
        kind = values.get("kind", DEFAULT_KIND) if isinstance(values, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            return values
        given = {"chunk_size": KINDS[kind].chunk_size, **values}
        if isinstance(given.get("parameters"), dict):
            given["parameters"] = KINDS[kind].parameters.model_validate(given["parameters"])
        return given

    @model_validator(mode="after")
    def _agree(self) -> "Job":
        if type(self.parameters) is not KINDS[self.kind].parameters:
            raise ValueError(f"the parameters are not those of the kind {self.kind}")
        return self

    @property
    def chunks(self) -> int:
        """Chunks in all, those of the retries included; 0 until the plan has ended."""
        return (self.plan.chunks if self.plan else 0) + sum(retry.chunks for retry in self.retries)

    def is_retry(self, chunk: int) -> bool:
        """Return whether a chunk reads items anew that an earlier one has counted."""
        return self.plan is not None and chunk >= self.plan.chunks

    @property
    def page_exports(self) -> tuple[str, ...]:
        """Those of the exports that workers prepare page by page."""
        return tuple(name for name in self.exports if name in KINDS[self.kind].page_exports)

    def identity(self) -> dict[str, object]:
        """Return what two jobs must share to be one job: everything that decides what the lines hold."""
        return {
            "kind": self.kind,
            "source": self.source.uri,
            "chunk_size": self.chunk_size,
            "exports": self.exports,
            **KINDS[self.kind].identity(self.parameters),
        }

    def tuned_as(self, other: "Job") -> "Job":
        """Return this job with another's tuning, such as its batch sizes."""
        tuning = {name: getattr(other.parameters, name) for name in KINDS[self.kind].tuning}
        return self.model_copy(update={"parameters": self.parameters.model_copy(update=tuning)})

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
