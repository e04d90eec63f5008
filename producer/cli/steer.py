"""Commands that steer a job: pause, cancel, resume, retry-errors, gc."""

import sys
from collections.abc import Callable

from contract.broker.ledger import Ledger
from contract.counting import counted
from contract.errors import ExitCode
from contract.job import Job
from contract.settings import Settings
from contract.states import Action, State
from contract.workspace import Workspace
from producer.cli import options
from producer.cli.terminal import echo
from producer.control.removal import remove_job
from producer.control.steer import add_retry, cancel_job, check_action, pause_job
from producer.planning.submit import submit_job
from producer.results.status import find_workspace
from producer.session import Session


@options.command()
@options.job_or_workspace
@options.with_settings(*options.WATCHING)
def pause(settings: Settings, job: str) -> ExitCode:
    """Stop a job once its running chunks end; `resume` continues it."""
    return _steer(settings, job, pause_job, State.PAUSED)


@options.command()
@options.job_or_workspace
@options.with_settings(*options.WATCHING)
def cancel(settings: Settings, job: str) -> ExitCode:
    """Cancel a job; its running chunks end first, and the files it has written stay until `gc`."""
    return _steer(settings, job, cancel_job, State.CANCELLED)


@options.command()
@options.job_or_workspace
@options.with_settings("max_document_bytes", *options.WATCHING)
def resume(settings: Settings, job: str) -> ExitCode:
    """Continue a paused, cancelled or failed job, or one whose planning was interrupted."""
    session = Session(settings)
    found, workspace = _find(session, job)
    check_action(Action.RESUME, found, workspace, session.ledger_if_set)
    return _resubmit(session, found, workspace)


@options.command("retry-errors")
@options.job_or_workspace
@options.with_settings("max_document_bytes", *options.WATCHING)
def retry_errors(settings: Settings, job: str) -> ExitCode:
    """Read a complete job's failed items again; the results are merged in place."""
    settings.broker_url()
    session = Session(settings)
    found, workspace = _find(session, job)
    return _resubmit(session, add_retry(found, workspace, session.ledger_if_set), workspace)


@options.command()
@options.job_or_workspace
@options.with_settings(*options.WATCHING)
def gc(settings: Settings, job: str) -> ExitCode:
    """Remove everything that a cancelled job has written."""
    session = Session(settings)
    found, workspace = _find(session, job)
    removed = remove_job(found, workspace, session.ledger_if_set)
    session.index.forget(found, workspace)
    echo(f"removed {counted(removed, 'object')} from {workspace.root}")
    return ExitCode.OK


def _find(session: Session, name: str) -> tuple[Job, Workspace]:
    workspace = find_workspace(name, session.ledger_if_set, session.storage, session.index)
    return workspace.require_job(), workspace


def _steer(
    settings: Settings, name: str, action: Callable[[Job, Workspace, Ledger | None], None], done: str
) -> ExitCode:
    session = Session(settings)
    job, workspace = _find(session, name)
    action(job, workspace, session.ledger_if_set)
    echo(f"job {job.id} is {done}; running chunks end first")
    return ExitCode.OK


def _resubmit(session: Session, job: Job, workspace: Workspace) -> ExitCode:
    session.settings.broker_url()
    listing = session.listing(job, sys.stdin.buffer)
    job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    echo(job.id)
    return ExitCode.OK
