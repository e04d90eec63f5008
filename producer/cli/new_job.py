"""Shared by the commands that start a job: their arguments, and the job and workspace made from them."""

import functools
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import click

from contract.errors import UsageError
from contract.job import Job, new_job_id
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS
from contract.model_store import check_models
from contract.region import Level
from contract.settings import Settings
from contract.source import Changed, Regions, Source
from contract.tracing import current_traceparent, span
from contract.workspace import Workspace, open_workspace
from producer.notify import notified
from producer.planning.claim import Ids
from producer.planning.deadline import parse_deadline
from producer.planning.reuse import with_reuse
from producer.planning.submit import settle_job
from producer.regions import FORMATS
from producer.results.checking import checks_of
from producer.results.evaluation.truth import check_truth
from producer.results.sinks import WRITE_BACK, check_formats, formats_of, joined
from producer.session import Session
from producer.sources import identify_sources
from producer.sources.regions import check_regions, identify_regions
from producer.sources.selection import selection_of
from producer.sources.shards import with_columns

F = Callable[..., Any]


@dataclass(frozen=True)
class Asked:
    """What the arguments of a command ask for.

    Args:
        sources: as the user names them, in order
        output: the job's workspace
        job_id: id of a new job
        include, exclude: globs of the files that are read, and of those that are not
        limit: number of items
        image_column, id_column, label_column: columns of shards
        changed: the fingerprint that items get
        reuse: the workspace of the job whose lines are taken over
    """

    sources: tuple[str, ...]
    output: str
    kind: str = DEFAULT_KIND
    job_id: str | None = None
    regions: Regions | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    image_column: str | None = None
    id_column: str | None = None
    label_column: str | None = None
    changed: Changed | None = None
    reuse: str | None = None
    urgent: bool = False


def asking(*names: str, **helps: str) -> Callable[[F], F]:
    """Give a command arguments of a job, named as in `Asked`, and what they ask for as its argument `asked`.

    Args:
        helps: the descriptions that differ from the usual ones
    """
    flags = [name for name in names if name != "regions"]
    with_regions = "regions" in names

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapped(*settings: Settings, **arguments: Any) -> Any:
            given = {name: arguments.pop(name) for name in flags}
            if with_regions:
                described = (arguments.pop(name) for name in _REGIONS)
                given["regions"] = identify_regions(*described)
            return function(*settings, asked=Asked(**given), **arguments)

        decorated: F = wrapped
        for name in reversed((*flags, *(_REGIONS if with_regions else ()))):
            decorated = _argument(name, helps.get(name))(decorated)
        return decorated

    return decorate


def _argument(name: str, help_text: str | None) -> Callable[[F], F]:
    if name == "sources":
        return click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
    flags, options = _FLAGS[name]
    return click.option(*flags, name, **{**options, **({"help": help_text} if help_text else {})})


_REGIONS = ("regions", "level", "categories")

_FLAGS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "output": (
        ("-o", "--output"),
        {"required": True, "help": "The job's workspace: a folder or remote prefix."},
    ),
    "kind": (
        ("--kind",),
        {
            "type": click.Choice(tuple(KINDS)),
            "default": DEFAULT_KIND,
            "show_default": True,
            "help": "; ".join(f"{one.name}: {one.help}" for one in KINDS.values()) + ".",
        },
    ),
    "job_id": (("--job-id",), {"help": "Id of a new job; default: made from the source's name."}),
    "regions": (
        ("--regions",),
        {
            "metavar": "FORMAT:PATH",
            "help": "Read the regions of SOURCE's pages that a file, folder or remote prefix describes. "
            f"FORMAT is {', '.join(FORMATS)}.",
        },
    ),
    "level": (
        ("--level",),
        {
            "type": click.Choice(get_args(Level)),
            "help": "Which of the format's nested regions are read.  [default: the format's usual one]",
        },
    ),
    "categories": (
        ("--category",),
        {"multiple": True, "help": "Read only regions of this category; may be repeated."},
    ),
    "include": (
        ("--include",),
        {
            "multiple": True,
            "metavar": "GLOB",
            "help": "Read only files whose names, relative to SOURCE, match: '2026/**/*.{png,jpg}'. Without "
            "a slash, it matches in any folder. May be repeated.",
        },
    ),
    "exclude": (
        ("--exclude",),
        {"multiple": True, "metavar": "GLOB", "help": "Leave files out that match; may be repeated."},
    ),
    "limit": (
        ("--limit",),
        {"type": click.IntRange(1), "metavar": "N", "help": "Read only the first N items; list no more."},
    ),
    "image_column": (
        ("--image-column",),
        {"metavar": "NAME", "help": "Of shards, the column of images; of tar and zip, their extension."},
    ),
    "id_column": (("--id-column",), {"metavar": "NAME", "help": "Of shards, the column of ids."}),
    "label_column": (
        ("--label-column",),
        {"metavar": "NAME", "help": "Of shards, the column of labels, the right texts."},
    ),
    "changed": (
        ("--changed",),
        {
            "type": click.Choice(get_args(Changed)),
            "help": "Record what tells that a file has changed, so that later jobs can reuse the lines of "
            "the others.",
        },
    ),
    "reuse": (
        ("--reuse",),
        {
            "metavar": "WORKSPACE",
            "help": "Take over the lines of a finished job for files with the same etag or sha256.",
        },
    ),
    "urgent": (("--urgent",), {"is_flag": True, "help": "Overtake jobs that are not urgent."}),
}

SELECTING = ("include", "exclude", "limit", "image_column", "id_column", "label_column")
"""Arguments that say which items of a source are read."""


_WRITE_BACK = click.option(
    "--write-back",
    is_flag=True,
    help="Write copies of the files of the regions, with the texts in them, to exports/ in the workspace.",
)


def with_write_back(function: F) -> F:
    """Give a command with settings and a kind a flag that adds the regions' files to the exports."""

    @functools.wraps(function)
    def wrapped(settings: Settings, write_back: bool, **others: Any) -> Any:
        if write_back:
            check_formats((WRITE_BACK,), others["kind"])
        if write_back and WRITE_BACK not in settings.exports:
            settings = settings.model_copy(update={"exports": (*settings.exports, WRITE_BACK)})
        return function(settings, **others)

    return _WRITE_BACK(wrapped)


def described(session: Session, asked: Asked) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, and its workspace; nothing is written.

    Raises:
        UsageError: a source does not exist or cannot have the regions, or the job id, a glob or the deadline
            is not valid
        UnknownModelError: there is no such model
        TruthError: the truth of a comparison cannot be used
    """
    if asked.job_id and not re.fullmatch(JOB_ID, asked.job_id):
        raise UsageError(f"--job-id {asked.job_id!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    settings = session.settings
    source, parameters = _source(asked, settings), settings.parameters_of(asked.kind)
    check_models(parameters.wanted_models(), session.model_store)
    check_truth(parameters, session.storage)
    wanted = Job(
        id=asked.job_id or new_job_id(source.uris[0]),
        kind=asked.kind,
        parameters=parameters,
        exports=joined(
            formats_of(settings.exports, asked.kind), formats_of(settings.results, asked.kind, "results")
        ),
        source=source,
        chunk_size=settings.chunk_size_of(asked.kind),
        urgent=asked.urgent,
        tags=settings.tags,
        metadata=settings.metadata,
        checks=checks_of(settings, asked.kind, parameters, session.storage),
        notify=notified(settings.notify, settings),
        traceparent=_traceparent(),
        **_turn(settings),
    )
    if asked.reuse:
        wanted = with_reuse(wanted, open_workspace(asked.reuse, session.storage))
    return wanted, open_workspace(asked.output, session.storage)


def _source(asked: Asked, settings: Settings) -> Source:
    source = with_columns(
        identify_sources(asked.sources), asked.image_column, asked.id_column, asked.label_column
    ).model_copy(
        update={
            "selection": selection_of(asked.include, asked.exclude, asked.limit),
            "sample": settings.sample_of(),
            "regions": asked.regions,
            "changed": asked.changed,
        }
    )
    check_regions(source, asked.kind)
    return source


def _turn(settings: Settings) -> dict[str, Any]:
    """Return the fields of a job that say when its turn comes."""
    now = time.time()
    return {
        "tenant": settings.tenant,
        "priority": settings.priority,
        "deadline": parse_deadline(settings.deadline, settings.timezone, now) if settings.deadline else None,
        "at_deadline": settings.at_deadline,
        "created_at": int(now),
    }


def _traceparent() -> str | None:
    """Return the span of this submission, below that of the program that has called, if traces are on."""
    with span("submit", os.environ.get("TRACEPARENT")):
        return current_traceparent()


def settle(session: Session, asked: Asked, ids: Ids | None) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, or the existing job of its workspace.

    Args:
        ids: as for `settle_job`

    Raises:
        WorkspaceConflictError: the workspace belongs to another job
        UsageError, UnknownModelError, TruthError: as `described`
    """
    wanted, workspace = described(session, asked)
    return settle_job(wanted, workspace, ids, session.roots, asked.job_id), workspace
