"""Shared by the commands that start a job: their arguments, and the job and workspace made from them."""

import functools
import os
import re
import time
from collections.abc import Callable
from typing import Any, get_args

import click

from contract.errors import UsageError
from contract.job import Changed, Job, Regions, new_job_id
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS
from contract.model_store import check_models
from contract.region import Level
from contract.settings import Settings
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
from producer.sources import identify_source
from producer.sources.regions import check_regions, identify_regions


def _only_source(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> str:
    if len(given) > 1:
        raise click.UsageError(
            f"SOURCE is one folder, file, prefix or manifest, and {len(given):,} were given ({given[0]}, "
            "...): give their folder, or a manifest that lists them"
        )
    return given[0]


# Any number is accepted, since a shell turns *.png into that many, and refused in our own words.
source = click.argument("source", nargs=-1, required=True, metavar="SOURCE", callback=_only_source)
output = click.option("-o", "--output", required=True, help="The job's workspace: a folder or s3:// prefix.")
kind = click.option(
    "--kind",
    type=click.Choice(tuple(KINDS)),
    default=DEFAULT_KIND,
    show_default=True,
    help="; ".join(f"{one.name}: {one.help}" for one in KINDS.values()) + ".",
)
changed = click.option(
    "--changed",
    type=click.Choice(("etag", "mtime+size", "sha256")),
    help="Record what tells that a file has changed, so that later jobs can reuse the lines of the others.",
)
reuse = click.option(
    "--reuse",
    metavar="WORKSPACE",
    help="Take over the lines of a finished job for files with the same etag or sha256.",
)
job_id = click.option("--job-id", help="Id of a new job; default: made from the source's name.")


F = Callable[..., Any]


def with_regions(function: F) -> F:
    """Give a command the flags of regions, and the regions that they name, or None, as an argument."""

    @functools.wraps(function)
    def wrapped(regions: str | None, level: Level | None, categories: tuple[str, ...], **others: Any) -> Any:
        return function(regions=identify_regions(regions, level, categories), **others)

    for option in (_CATEGORY, _LEVEL, _REGIONS):
        wrapped = option(wrapped)
    return wrapped


_REGIONS = click.option(
    "--regions",
    metavar="FORMAT:PATH",
    help="Read the regions of SOURCE's pages that a file, folder or s3:// prefix describes. "
    f"FORMAT is {', '.join(FORMATS)}.",
)
_LEVEL = click.option(
    "--level",
    type=click.Choice(get_args(Level)),
    help="Which of the format's nested regions are read.  [default: the format's usual one]",
)
_CATEGORY = click.option(
    "--category", "categories", multiple=True, help="Read only regions of this category; may be repeated."
)


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


def described(
    session: Session,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    regions: Regions | None = None,
    *,
    urgent: bool,
    changed: Changed | None = None,
    reuse: str | None = None,
) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, and its workspace; nothing is written.

    Args:
        changed: the fingerprint that its items get
        reuse: the workspace of the job whose lines it takes over

    Raises:
        UsageError: the source does not exist or cannot have the regions, or the job id or the deadline is not
            valid
        UnknownModelError: there is no such model
        TruthError: the truth of a comparison cannot be used
    """
    if job_id and not re.fullmatch(JOB_ID, job_id):
        raise UsageError(f"--job-id {job_id!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    settings, now = session.settings, time.time()
    found = identify_source(source).model_copy(update={"sample": settings.sample_of(), "regions": regions})
    check_regions(found, kind)
    parameters = settings.parameters_of(kind)
    check_models(parameters.wanted_models(), session.model_store)
    check_truth(parameters, session.storage)
    wanted = Job(
        id=job_id or new_job_id(found.uri),
        kind=kind,
        parameters=parameters,
        exports=joined(formats_of(settings.exports, kind), formats_of(settings.results, kind, "results")),
        source=found,
        chunk_size=settings.chunk_size_of(kind),
        urgent=urgent,
        tenant=settings.tenant,
        priority=settings.priority,
        deadline=parse_deadline(settings.deadline, settings.timezone, now) if settings.deadline else None,
        at_deadline=settings.at_deadline,
        created_at=int(now),
        tags=settings.tags,
        metadata=settings.metadata,
        checks=checks_of(settings, kind, parameters, session.storage),
        notify=notified(settings.notify, settings),
        traceparent=_traceparent(),
    )
    if changed:
        wanted = wanted.model_copy(update={"source": wanted.source.model_copy(update={"changed": changed})})
    if reuse:
        wanted = with_reuse(wanted, open_workspace(reuse, session.storage))
    return wanted, open_workspace(output, session.storage)


def _traceparent() -> str | None:
    """Return the span of this submission, below that of the program that has called, if traces are on."""
    with span("submit", os.environ.get("TRACEPARENT")):
        return current_traceparent()


def settle(
    session: Session,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    ids: Ids | None,
    regions: Regions | None,
    *,
    urgent: bool,
    changed: Changed | None = None,
    reuse: str | None = None,
) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, or the existing job of its workspace.

    Args:
        ids: as for `settle_job`

    Raises:
        WorkspaceConflictError: the workspace belongs to another job
        UsageError, UnknownModelError, TruthError: as `described`
    """
    wanted, workspace = described(
        session, source, output, kind, job_id, regions, urgent=urgent, changed=changed, reuse=reuse
    )
    return settle_job(wanted, workspace, ids, session.roots, job_id), workspace
