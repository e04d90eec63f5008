"""Shared by the commands that start a job: their arguments, and the job and workspace made from them."""

import re
import time

import click

from contract.errors import UsageError
from contract.job import Job, new_job_id
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS
from contract.model_store import check_models
from contract.workspace import Workspace, open_workspace
from producer.planning.claim import Ids
from producer.planning.submit import settle_job
from producer.results.checking import checks_of
from producer.results.evaluation.truth import check_truth
from producer.results.sinks import formats_of
from producer.session import Session
from producer.sources import identify_source


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
job_id = click.option("--job-id", help="Id of a new job; default: made from the source's name.")


def described(
    session: Session,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    *,
    urgent: bool,
) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, and its workspace; nothing is written.

    Raises:
        UsageError: the source does not exist, or the job id is not valid
        UnknownModelError: there is no such model
        TruthError: the truth of a comparison cannot be used
    """
    if job_id and not re.fullmatch(JOB_ID, job_id):
        raise UsageError(f"--job-id {job_id!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    settings, found = session.settings, identify_source(source)
    parameters = settings.parameters_of(kind)
    check_models(parameters.wanted_models(), session.model_store)
    check_truth(parameters, session.storage)
    wanted = Job(
        id=job_id or new_job_id(found.uri),
        kind=kind,
        parameters=parameters,
        exports=formats_of(settings.exports, kind),
        source=found.model_copy(update={"sample": settings.sample_of()}),
        chunk_size=settings.chunk_size_of(kind),
        urgent=urgent,
        created_at=int(time.time()),
        tags=settings.tags,
        metadata=settings.metadata,
        checks=checks_of(settings, kind, parameters, session.storage),
    )
    return wanted, open_workspace(output, session.storage)


def settle(
    session: Session,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    ids: Ids | None,
    *,
    urgent: bool,
) -> tuple[Job, Workspace]:
    """Return the job that the arguments describe, or the existing job of its workspace.

    Args:
        ids: as for `settle_job`

    Raises:
        WorkspaceConflictError: the workspace belongs to another job
        UsageError, UnknownModelError, TruthError: as `described`
    """
    wanted, workspace = described(session, source, output, kind, job_id, urgent=urgent)
    return settle_job(wanted, workspace, ids, session.roots, job_id), workspace
