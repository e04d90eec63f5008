"""Result formats of a finished job: one module per format."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Literal

from contract.errors import JobError, UsageError
from contract.job import Job
from contract.registry import Registry
from contract.workspace import Workspace
from producer.results.sinks.base import Sink

JSONL = "jsonl"
"""The format that every job writes: `results.jsonl` and `errors.jsonl`."""

REVIEW = "review"
"""The format that every job with checks of its readings writes."""

WRITE_BACK = "write_back"
"""The format that puts texts into the files of the job's regions."""

OWN: dict[str, Callable[[Job], bool]] = {
    "comparison": lambda job: job.kind == "compare",
    REVIEW: lambda job: job.checks.review,
    "forms": lambda job: job.kind == "recognition" and job.source.has_template,
}
"""Formats besides JSONL that every job writes of which this is true."""

SINKS: Registry[Sink] = Registry(
    "producer.results.sinks",
    "SINK",
    (JSONL, *OWN, "txt", "hocr", "pdf", "alto", "page", WRITE_BACK),
)

FORMATS = tuple(name for name in SINKS if name not in (JSONL, *OWN))
"""Formats that a job may request with `exports`."""

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[FORMATS]
"""Type of a format's name in requests, so that pydantic and OpenAPI have the closed list."""


def sinks_of(job: Job) -> list[Sink]:
    """Return the sinks of a job.

    Raises:
        JobError: the job requests a format that this version does not know
    """
    unknown = [name for name in job.exports if name not in FORMATS]
    if unknown:
        raise JobError(
            f"job {job.id} exports {', '.join(unknown)}, which this version does not know: it knows "
            f"{', '.join(FORMATS)}; use the version that it was submitted with"
        )
    return [SINKS[name] for name in (JSONL, *_own(job), *job.exports)]


def files_of(job: Job, workspace: Workspace) -> dict[str, set[str]]:
    """Return the names of the files of all formats of a job, by folder; the job's parts must exist."""
    folders = defaultdict[str, set[str]](set)
    for uri in chain.from_iterable(sink.paths(job, workspace) for sink in sinks_of(job)):
        folder, _, name = uri.rpartition("/")
        folders[folder].add(name)
    return folders


def sweep_formats(files: Mapping[str, set[str]], workspace: Workspace) -> int:
    """Remove what killed merges left unfinished of the files that `files_of` returns; return how many."""
    return sum(workspace.store.sweep(folder, names.__contains__) for folder, names in files.items())


def check_exports(job: Job) -> None:
    """Raise UsageError if a job requests an unknown format, or one that its parameters rule out."""
    check_formats(job.exports, job.kind)
    for name in (*_own(job), *job.exports):
        SINKS[name].check(job)
    if not job.checks.review and any(rule.measure == REVIEW for rule in job.checks.rules):
        raise UsageError("fail_if: a rule on review needs min_confidence, expect or validators")


def _own(job: Job) -> Iterator[str]:
    return (name for name, applies in OWN.items() if applies(job))


def check_formats(exports: Iterable[str], kind: str) -> None:
    """Raise UsageError for a format that jobs of a kind cannot write."""
    for name in exports:
        if name not in FORMATS:
            raise UsageError(f"exports: {name!r} is not a format: choose from {', '.join(FORMATS)}")
        kinds = SINKS[name].kinds
        if kinds is not None and kind not in kinds:
            raise UsageError(
                f"exports: {kind} jobs cannot write {name}, {' and '.join(sorted(kinds))} jobs can"
            )


def formats_of(exports: Iterable[str], kind: str) -> tuple[str, ...]:
    """Return the deployment's exports that jobs of a kind can write; unknown names stay, to be reported."""
    return tuple(name for name in exports if name not in FORMATS or kind in (SINKS[name].kinds or (kind,)))
