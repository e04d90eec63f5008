"""The job: what `job.json` holds."""

import re
import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from contract.checks import Checks
from contract.errors import JobError
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS, KindName
from contract.kinds.base import Parameters
from contract.region import MAX_NAME
from contract.reuse import Reuse
from contract.source import Source
from contract.storage.roots import AllowedRoots
from contract.tenants import DEFAULT_TENANT, TENANT

Export = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
"""A result format besides JSONL; `producer.results.sinks` lists them."""

MAX_EXPORTS = 16
"""Maximum formats of one job; more than exist."""

MAX_CHUNK_SIZE = 65_536
"""Maximum items in a chunk: one chunk's items and lines are held in memory."""

MAX_TAGS = 16
"""Maximum tags, and pairs of metadata, of one job; as many as OpenAI's Batch objects have."""

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$")]
"""A word that jobs are filtered by."""

Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)]

Metadata = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=MAX_TAGS),
]
"""What the caller wants to find again with a job: it is stored and shown, and never interpreted."""

TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""The pattern of W3C Trace Context's traceparent: the span that a job's spans are below."""

MAX_RECEIVERS = 8
"""Maximum URLs that one job notifies."""

MAX_URL = 2048
"""Maximum characters of such a URL."""

Receivers = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=MAX_URL)], ...], Field(max_length=MAX_RECEIVERS)
]
"""The URLs that are notified of a job's end."""

MAX_PRIORITY = 100
"""Highest priority of a job; the lowest is as far below zero."""

AtDeadline = Literal["continue", "partial"]
"""What happens to a job at its deadline: it continues, or ends with what was read."""


class Plan(BaseModel):
    """The totals of a finished plan; `passed_over` counts skipped entries of the source by reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunks: int
    items: int
    passed_over: dict[str, int] = {}


class Retry(BaseModel):
    """One round of retry-errors: new chunks, numbered after the last one, with the failed items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_chunk: int
    chunks: int
    items: int


RENEWED = ("tags", "metadata", "notify")
"""Fields that a job takes over from a later submission that gives them."""


class Job(BaseModel):
    """One job as stored in `job.json`; `plan` is set once planning has ended. Times are Unix seconds.

    `planned_by` says which process lists the source: the submitting command, or control for jobs over HTTP.
    `roots` are those of the API key that submitted the job, if it has any: no item outside them is read.
    `tags` and `metadata` are the caller's; a job that is submitted again takes new ones, if there are any.
    `exports` are all formats besides JSONL: those of results, and those of documents or regions.
    `submitted_by` is the name of the API key that submitted the job first.
    `tenant`, `priority` and `deadline` decide when its chunks are sent; docs/operations.md says how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=JOB_ID)]
    kind: KindName = DEFAULT_KIND
    parameters: SerializeAsAny[Parameters]
    exports: Annotated[tuple[Export, ...], Field(max_length=MAX_EXPORTS)] = ()
    source: Source
    chunk_size: int = Field(ge=1, le=MAX_CHUNK_SIZE)
    urgent: bool = False
    tenant: str = Field(DEFAULT_TENANT, pattern=TENANT)
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    deadline: int | None = Field(None, ge=0)
    at_deadline: AtDeadline = "continue"
    planned_by: Literal["submit", "control"] = "submit"
    created_at: int
    roots: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] | None = None
    tags: Tags = ()
    metadata: Metadata = {}
    checks: Checks = Checks()
    reuse: Reuse | None = None
    notify: Receivers = ()
    traceparent: Annotated[str, Field(pattern=TRACEPARENT)] | None = None
    submitted_by: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    plan: Plan | None = None
    retries: tuple[Retry, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _parameters_of_its_kind(cls, values: Any) -> Any:
        """Parse the parameters with the model of the job's kind, since kinds share parameter names."""
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
        """Number of chunks, including those of retries; 0 until the plan has ended."""
        return (self.plan.chunks if self.plan else 0) + sum(retry.chunks for retry in self.retries)

    def is_retry(self, chunk: int) -> bool:
        """Return whether a chunk reads items again that an earlier chunk has counted."""
        return self.plan is not None and chunk >= self.plan.chunks

    @property
    def page_exports(self) -> tuple[str, ...]:
        """The exports that workers prepare page by page."""
        return tuple(name for name in self.exports if name in KINDS[self.kind].page_exports)

    def order(self) -> dict[str, str]:
        """Return what decides when the job's chunks are sent, as the ledger keeps it."""
        order = {
            "tenant": self.tenant,
            "priority": str(self.priority),
            "urgent": str(int(self.urgent)),
            "at_deadline": self.at_deadline,
        }
        return order if self.deadline is None else {**order, "deadline": str(self.deadline)}

    def identity(self) -> dict[str, object]:
        """Return what must be equal in two jobs to be one job: all that decides the lines' content."""
        return {
            "kind": self.kind,
            "source": self.source.uri,
            "selection": self.source.selection,
            "sample": self.source.sample,
            "regions": self.source.regions,
            "shards": tuple(part.shards for part in self.source.parts or (self.source,)),
            "chunk_size": self.chunk_size,
            "exports": self.exports,
            "review": self.checks.model_dump(mode="json", exclude={"fail_if"}),
            **KINDS[self.kind].identity(self.parameters),
        }

    def tuned_as(self, other: "Job") -> "Job":
        """Return this job with another job's tuning, such as batch sizes, and its caller's words."""
        tuning = {name: getattr(other.parameters, name) for name in KINDS[self.kind].tuning}
        update = {name: value for name in RENEWED if (value := getattr(other, name))}
        update["checks"] = other.checks if other.checks.fail_if else self.checks
        update["priority"] = other.priority
        if other.deadline is not None:
            update |= {"deadline": other.deadline, "at_deadline": other.at_deadline}
        return self.model_copy(update={**update, "parameters": self.parameters.model_copy(update=tuning)})

    def to_json(self) -> bytes:
        """Return the bytes of `job.json`."""
        return self.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


def parse_job(data: bytes, where: str) -> Job:
    """Return the job in the bytes of a `job.json`.

    Raises:
        JobError: the file is not a valid job
    """
    try:
        return Job.model_validate_json(data)
    except ValidationError as error:
        raise JobError(
            f"{where} is not a job that this version can read: {error.errors(include_url=False)[0]['msg']}. "
            "Use another workspace."
        ) from error


def roots_of(job: Job, allowed: AllowedRoots) -> AllowedRoots:
    """Return the roots of a job's items: for a confined source only its URI, so that no link leads out of it,
    and never more than the job's own roots.

    Raises:
        OutsideAllowedRootsError: the source is outside the allowed roots
    """
    narrowed = allowed.narrowed(*job.source.uris) if job.source.confined else allowed
    return narrowed if job.roots is None else narrowed.within(job.roots)


def new_job_id(source_uri: str, now: float | None = None) -> str:
    """Return a readable id: the last name of the source's path, the date, eight random hex digits."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", source_uri.rstrip("/").rpartition("/")[2]).strip("-")[:40] or "job"
    day = time.strftime("%Y%m%d", time.gmtime(now))
    return f"{name}-{day}-{secrets.token_hex(4)}"
