"""Commands that look at a job: status, watch."""

import time
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
import redis
import structlog
from rich.console import Console

from contract.errors import ExitCode, TraceOcrError, UnknownJobError
from contract.job import Job
from contract.job_filter import JobFilter
from contract.job_status import JobStatus
from contract.settings import Settings
from contract.states import State
from contract.workspace import Workspace, open_workspace
from producer.cli import options, render
from producer.cli.progress import ShowStatus, progress_shown
from producer.cli.render import make_console
from producer.cli.terminal import echo_json
from producer.results.judgement import quality_low
from producer.results.status import find_status, find_workspace, first_lines, status_of
from producer.session import Session

WATCH_SECONDS = 1.0
"""Seconds between two checks of `watch`."""


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return a time in ISO 8601, in UTC unless it says another zone, in Unix seconds."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a time such as 2026-11-25 or 2026-11-25T22:00+01:00"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@options.command()
@click.argument("job", required=False, metavar="[JOB|WORKSPACE]")
@click.option("--tag", "tags", multiple=True, help="Only jobs with this tag; several: with all of them.")
@click.option(
    "--created-from", callback=_moment, help="Only jobs created then or later, as 2026-11-25T22:00Z."
)
@click.option(
    "--created-before", callback=_moment, help="Only jobs created before; UTC, unless it has a zone."
)
@click.option("--tenant", help="Only jobs of this tenant.")
@options.as_json
@options.with_settings(*options.WATCHING)
def status(
    settings: Settings,
    job: str | None,
    tags: tuple[str, ...],
    created_from: float | None,
    created_before: float | None,
    tenant: str | None,
    json_output: bool,
) -> ExitCode:
    """Show one job, or all jobs in Redis."""
    session, console = Session(settings), make_console()
    if job:
        found = _look_anyway(session, job)
        print_json(found) if json_output else render.print_job(console, found)
        return _quality(session, found, console if not json_output else None)
    wanted = JobFilter(tags=tags, created_from=created_from, created_before=created_before, tenant=tenant)
    known = (session.ledger.load(identity) for identity in session.ledger.jobs())
    statuses = [found for progress in known if progress and wanted.accepts(found := status_of(progress))]
    print_json(statuses) if json_output else render.print_jobs(console, statuses)
    return ExitCode.OK


@options.command()
@options.job_or_workspace
@options.as_json
@options.with_settings(*options.WATCHING)
def watch(settings: Settings, job: str, json_output: bool) -> ExitCode:
    """Show a job's progress until it ends; the exit status tells how the job ended."""
    session = Session(settings)
    wait_for(session, job)
    return report(find_workspace(job, session.ledger_if_set, session.storage, session.index), 0, json_output)


def wait_for(session: Session, job: str) -> None:
    """Show a job's progress until it ends; raises TraceOcrError if it did not complete."""
    with progress_shown(make_console(stderr=True)) as show:
        found = _wait(session, job, show)
    if found.status is not State.COMPLETED:
        raise TraceOcrError(f"job {found.id} {found.status}: {found.error or 'see the log'}")


def report(workspace: Workspace, head: int, json_output: bool) -> ExitCode:
    """Print a completed job's summary and its first `head` results; return the exit status."""
    summary = workspace.load_summary()
    assert summary is not None
    if json_output:
        print_json(summary)
    else:
        render.print_summary(make_console(), summary, workspace.root)
        for line in first_lines(workspace, workspace.results, head):
            echo_json(msgspec.json.encode(line))
    return exit_code_of(summary, workspace.require_job())


def exit_code_of(summary: dict[str, Any], job: Job) -> ExitCode:
    """Return the exit status of a completed job; a rule on errors decides in place of any failed item."""
    if summary.get("broken_rules"):
        return ExitCode.QUALITY_LOW
    tolerant = any(rule.measure == "errors" for rule in job.checks.rules)
    failed = summary["request_counts"]["failed"] and not tolerant
    return ExitCode.ITEMS_FAILED if failed else ExitCode.OK


def _quality(session: Session, status: JobStatus, console: Console | None) -> ExitCode:
    """Print why a completed job's quality is low, if it is and there is a console; return the exit status."""
    if status.status is not State.COMPLETED:
        return ExitCode.OK
    summary = open_workspace(status.workspace, session.storage).load_summary() or {}
    if console:
        render.print_quality(console, quality_low(summary))
    return ExitCode.QUALITY_LOW if summary.get("broken_rules") else ExitCode.OK


def print_json(value: Any) -> None:
    """Print a value as JSON, for scripts."""
    echo_json(msgspec.json.format(msgspec.json.encode(value)))


def _look(session: Session, job: str) -> JobStatus:
    found = find_status(job, session.ledger_if_set, session.storage, session.index)
    return session.explained(found)


def _look_anyway(session: Session, job: str) -> JobStatus:
    """Return a job's status; that of its workspace, and a log line, while Redis is away."""
    try:
        return _look(session, job)
    except redis.RedisError as error:
        try:
            found = find_status(job, None, session.storage, session.index)
        except UnknownJobError:
            raise error from None
        _log_away(error, "shown is what the workspace says")
        return found


def _wait(session: Session, job: str, show: ShowStatus) -> JobStatus:
    """Show a job's progress until it ends. Redis may go away meanwhile, and may come back empty."""
    found, away = _look(session, job), False
    while True:
        show(found)
        if found.ended:
            return found
        time.sleep(WATCH_SECONDS)
        try:
            found, away = _look(session, found.workspace), False
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not away:
                _log_away(error, "this command waits for it")
            away = True


def _log_away(error: redis.RedisError, hint: str) -> None:
    structlog.get_logger().warning("redis_away", error=str(error), hint=hint)
