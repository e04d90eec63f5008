"""The job and the workspace of a command that starts a job, made from its arguments."""

import os
import re
import time
from typing import Any

from contract.errors import UsageError
from contract.job import Job, new_job_id
from contract.job_status import JOB_ID
from contract.model_store import check_models
from contract.settings import Settings
from contract.source import Source
from contract.tracing import current_traceparent, span
from contract.workspace import Workspace, open_workspace
from producer.cli.job_arguments import Asked
from producer.notify import notified
from producer.planning.claim import Ids
from producer.planning.deadline import parse_deadline
from producer.planning.reuse import with_reuse
from producer.planning.submit import settle_job
from producer.results.checking import checks_of
from producer.results.evaluation.truth import check_truth
from producer.results.sinks import formats_of, joined
from producer.session import Session
from producer.sources.listing import identify_sources
from producer.sources.regions import check_regions
from producer.sources.selection import selection_of
from producer.sources.shards import with_columns


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
