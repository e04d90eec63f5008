"""Result formats of a finished job: one module per format."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

from contract.errors import JobError, UsageError
from contract.job import Job
from contract.registry import Registry
from contract.workspace import Workspace
from producer.results.sinks.base import LineSink, Sink

JSONL = "jsonl"
"""The format that every job writes: `results.jsonl` and `errors.jsonl`."""

RESULTS = (JSONL, "parquet", "csv")
"""Formats of the results and errors themselves; every job writes the first one."""

REVIEW = "review"
"""The format that every job with checks of its readings writes."""

WRITE_BACK = "write_back"
"""The format that puts texts into the files of the job's regions."""

OWN: dict[str, Callable[[Job], bool]] = {
    "order": lambda _: True,
    "comparison": lambda job: job.kind == "compare",
    REVIEW: lambda job: job.checks.review,
    "forms": lambda job: job.kind == "recognition" and job.source.has_template,
}
"""Formats besides JSONL that every job writes of which this is true."""

SINKS: Registry[Sink] = Registry(
    "producer.results.sinks",
    "SINK",
    (*RESULTS, *OWN, "txt", "hocr", "pdf", "alto", "page", WRITE_BACK),
)

FORMATS = tuple(name for name in SINKS if name not in (*RESULTS, *OWN))
"""Formats that a job may request with `exports`."""

if TYPE_CHECKING:
    Format = str
    ResultsFormat = str
else:
    Format, ResultsFormat = Literal[FORMATS], Literal[RESULTS]
"""Types of a format's name in requests, so that pydantic and OpenAPI have the closed lists."""


def sinks_of(job: Job) -> list[Sink]:
    """Return the sinks of a job.

    Raises:
        JobError: the job requests a format that this version does not know
    """
    unknown = [name for name in job.exports if name not in (*FORMATS, *RESULTS)]
    if unknown:
        raise JobError(
            f"job {job.id} exports {', '.join(unknown)}, which this version does not know: it knows "
            f"{', '.join((*FORMATS, *RESULTS))}; use the version that it was submitted with"
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


def line_sink(name: str) -> LineSink:
    """Return the sink of one of RESULTS."""
    return cast("LineSink", SINKS[name])


def results_of(job: Job) -> tuple[str, ...]:
    """Return the formats in which a job writes its results."""
    return tuple(name for name in RESULTS if name == JSONL or name in job.exports)


def joined(exports: Iterable[str], results: Iterable[str]) -> tuple[str, ...]:
    """Return what job.json keeps as `exports`: all formats but JSONL, which every job writes.

    Args:
        exports: formats of the job's documents or regions
        results: formats of its results and errors
    """
    wanted = set(results)
    return (*exports, *(name for name in RESULTS[1:] if name in wanted))


def check_exports(job: Job) -> None:
    """Raise UsageError if a job requests an unknown format, or one that its parameters rule out."""
    check_formats((name for name in job.exports if name not in RESULTS), job.kind)
    check_formats(results_of(job), job.kind, "results")
    for name in (*_own(job), *job.exports):
        SINKS[name].check(job)
    if not job.checks.review and any(rule.measure == REVIEW for rule in job.checks.rules):
        raise UsageError("fail_if: a rule on review needs min_confidence, expect or validators")


def _own(job: Job) -> Iterator[str]:
    return (name for name, applies in OWN.items() if applies(job))


Option = Literal["exports", "results"]
"""The two options that request formats."""

CHOICES: Mapping[Option, tuple[str, ...]] = MappingProxyType({"exports": FORMATS, "results": RESULTS})


def check_formats(names: Iterable[str], kind: str, option: Option = "exports") -> None:
    """Raise UsageError for a format that jobs of a kind cannot write."""
    for name in names:
        if name not in CHOICES[option]:
            raise UsageError(f"{option}: {name!r} is not a format: choose from {', '.join(CHOICES[option])}")
        kinds = SINKS[name].kinds
        if kinds is not None and kind not in kinds:
            raise UsageError(
                f"{option}: {kind} jobs cannot write {name}, {' and '.join(sorted(kinds))} jobs can"
            )


def formats_of(names: Iterable[str], kind: str, option: Option = "exports") -> tuple[str, ...]:
    """Return the deployment's formats that jobs of a kind can write; unknown names stay, to be reported."""
    known = CHOICES[option]
    return tuple(name for name in names if name not in known or kind in (SINKS[name].kinds or (kind,)))
