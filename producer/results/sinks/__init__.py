"""What a finished job writes: one module per result format."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from contract.errors import JobError, UsageError
from contract.job import Job
from contract.registry import Registry
from producer.results.sinks.base import Sink

JSONL = "jsonl"
"""What every job writes: `results.jsonl` and `errors.jsonl`."""

SINKS: Registry[Sink] = Registry("producer.results.sinks", "SINK", (JSONL, "txt", "hocr", "pdf"))

FORMATS = tuple(name for name in SINKS if name != JSONL)
"""What a job may ask for with `exports`."""

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[FORMATS]
"""A format's name, for requests: pydantic and OpenAPI see the closed list."""


def sinks_of(job: Job) -> list[Sink]:
    """Return what a job writes to.

    Raises:
        JobError: it asks for a format that this version does not know
    """
    unknown = [name for name in job.exports if name not in FORMATS]
    if unknown:
        raise JobError(
            f"job {job.id} exports {', '.join(unknown)}, which this version does not know: it knows "
            f"{', '.join(FORMATS)}; use the version that it was submitted with"
        )
    return [SINKS[name] for name in (JSONL, *job.exports)]


def check_exports(job: Job) -> None:
    """Raise UsageError if a job asks for a format that is not there, or that it leaves no way to make."""
    check_formats(job.exports, job.kind)
    for name in job.exports:
        SINKS[name].check(job)


def check_formats(exports: Iterable[str], kind: str) -> None:
    """Raise UsageError for a format that jobs of a kind cannot write."""
    for name in exports:
        if name not in FORMATS:
            raise UsageError(f"exports: {name!r} is no format: choose from {', '.join(FORMATS)}")
        kinds = SINKS[name].kinds
        if kinds is not None and kind not in kinds:
            raise UsageError(f"exports: {name} is made of {' and '.join(sorted(kinds))} jobs, not of {kind}")


def formats_of(exports: Iterable[str], kind: str) -> tuple[str, ...]:
    """Return the deployment's exports that jobs of a kind can write; names of no format stay, to be told."""
    return tuple(name for name in exports if name not in FORMATS or kind in (SINKS[name].kinds or (kind,)))
