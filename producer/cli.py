"""`trace-ocr`: a thin shell over the producer's functions; flags > environment > settings file > defaults."""

import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec
import redis
import structlog
from rich.console import Console

from contract.errors import ExitCode, InterruptedRunError, TraceOcrError, UsageError, WorkspaceConflictError
from contract.job import JOB_ID, Job, new_job_id
from contract.ledger import Ledger
from contract.logs import configure_logging, redacted
from contract.model_store import ModelStore
from contract.settings import Settings, environment_of
from contract.workspace import Workspace, open_workspace
from producer import options, render
from producer.catalogue import list_models
from producer.local import run_job
from producer.session import Session
from producer.sources import identify_source, list_source
from producer.status import JobStatus, find_status, find_workspace, first_lines, status_of
from producer.steer import add_retry, cancel_job, pause_job, remove_job
from producer.submit import settle_job, submit_job

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 plus SIGINT."""

WATCH_SECONDS = 1.0
"""Seconds between two looks of `watch`."""

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON, for scripts.")
source = click.argument("source")
output = click.option("-o", "--output", required=True, help="The job's workspace: a folder or s3:// prefix.")
job_id = click.option("--job-id", help="Name of a new job; made from the source's name by default.")
job_or_workspace = click.argument("job", metavar="JOB|WORKSPACE")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="trace-ocr-batch")
def cli() -> None:
    """Batch OCR: crops in, JSONL out, through Redis, Celery workers and docTR.

    Exit status: 0 every item read, 1 some items failed, 2 usage, 3 the job or the system failed.
    """


@cli.command()
@source
@output
@job_id
@click.option("--head", "head", default=0, help="Print the first N results as well.", metavar="N")
@as_json
@options.with_settings(*options.JOB, *options.WORKER, *options.STORAGE)
def run(
    settings: Settings, source: str, output: str, job_id: str | None, head: int, json_output: bool
) -> ExitCode:
    """Read SOURCE (folder, s3:// prefix, manifest or -) on this machine; exits when all is done.

    Needs no Redis: without TRACE_OCR_REDIS_URL it starts one of its own. Running it again into the same
    workspace continues where it stopped.
    """
    if "log_level" not in settings.model_fields_set:
        # Progress is shown; here the log is for what goes wrong.
        settings = settings.model_copy(update={"log_level": "warning"})
        configure_logging(settings)
    session = Session(settings)
    job, workspace = _settle(session, source, output, job_id, urgent=False)
    if not workspace.store.exists(workspace.success):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with render.progress_shown(Console(stderr=True)) as show:
                environment = dict(os.environ)
                status = run_job(job, workspace, settings, environment, sys.stdin.buffer, show)
        except (KeyboardInterrupt, InterruptedRunError):
            kept = len(workspace.part_numbers())
            click.echo(
                f"stopped; {kept} finished chunks are kept in {output}. To continue: "
                f"trace-ocr run {source} -o {output}",
                err=True,
            )
            sys.exit(INTERRUPTED)
        if status.status != "completed":
            raise TraceOcrError(f"job {job.id} {status.status}: {status.error or 'see the log'}")
    return _report(workspace, head, json_output)


@cli.command()
@source
@output
@job_id
@click.option("--urgent", is_flag=True, help="Overtake jobs that are not urgent.")
@as_json
@options.with_settings(*options.JOB, *options.STORAGE)
def submit(
    settings: Settings, source: str, output: str, job_id: str | None, urgent: bool, json_output: bool
) -> ExitCode:
    """Plan SOURCE into a workspace and queue it for the workers; prints the job's id.

    Submitting again into the same workspace continues the job.
    """
    settings.broker_url()
    session = Session(settings)
    job, workspace = _settle(session, source, output, job_id, urgent=urgent)
    if not workspace.store.exists(workspace.success):
        listing = list_source(job.source, session.storage, sys.stdin.buffer)
        job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    assert job.plan is not None
    if json_output:
        _print_json({"id": job.id, "workspace": workspace.root, **job.plan.model_dump()})
    else:
        click.echo(job.id)
        click.echo(f"{job.plan.items:,} items in {job.plan.chunks:,} chunks, in {workspace.root}", err=True)
    return ExitCode.OK


@cli.command()
@options.with_settings(*options.WORKER, *options.STORAGE)
def worker(settings: Settings) -> None:
    """Serve chunks until stopped: one process per device, restarted when it dies."""
    settings.broker_url()
    # The launcher takes this process's place: the worker side is never imported here.
    environment = {**os.environ, **environment_of(settings)}
    os.execve(sys.executable, [sys.executable, "-m", "worker.launcher"], environment)  # noqa: S606


@cli.command()
@options.with_settings(*options.STORAGE)
def control(settings: Settings) -> ExitCode:
    """Merge finished jobs and send lost chunks again, until stopped; one is needed, more do no harm."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loop = Session(settings).control()
    structlog.get_logger().info("control_started", pid=os.getpid())
    loop.run(stop)
    return ExitCode.OK


@cli.command()
@click.argument("job", required=False, metavar="[JOB|WORKSPACE]")
@as_json
@options.with_settings(*options.STORAGE)
def status(settings: Settings, job: str | None, json_output: bool) -> ExitCode:
    """Show one job, or all that Redis remembers."""
    session, console = Session(settings), Console()
    if job:
        found = find_status(job, session.ledger_if_set, session.storage)
        _print_json(found) if json_output else render.print_job(console, found)
        return ExitCode.OK
    known = (session.ledger.load(identity) for identity in session.ledger.jobs())
    statuses = [status_of(progress) for progress in known if progress]
    _print_json(statuses) if json_output else render.print_jobs(console, statuses)
    return ExitCode.OK


@cli.command()
@job_or_workspace
@as_json
@options.with_settings(*options.STORAGE)
def watch(settings: Settings, job: str, json_output: bool) -> ExitCode:
    """Show a job's progress until it ends; the exit status is the job's."""
    session = Session(settings)
    with render.progress_shown(Console(stderr=True)) as show:
        found = _wait(lambda: find_status(job, session.ledger_if_set, session.storage), show)
    if found.status != "completed":
        raise TraceOcrError(f"job {found.id} {found.status}: {found.error or 'see the log'}")
    return _report(find_workspace(job, session.ledger_if_set, session.storage), 0, json_output)


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def results(settings: Settings, job: str) -> ExitCode:
    """Print a finished job's results, one JSON line per item, in source order."""
    return _print_merged(settings, job, lambda workspace: workspace.results)


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def errors(settings: Settings, job: str) -> ExitCode:
    """Print a finished job's failed items, one JSON line each, in source order."""
    return _print_merged(settings, job, lambda workspace: workspace.errors)


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def pause(settings: Settings, job: str) -> ExitCode:
    """Stop a job after the chunks that are running; `resume` continues it."""
    return _steer(settings, job, pause_job, "paused")


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def cancel(settings: Settings, job: str) -> ExitCode:
    """Stop a job for good; what it has written stays until `gc`."""
    return _steer(settings, job, cancel_job, "cancelled")


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def resume(settings: Settings, job: str) -> ExitCode:
    """Continue a paused, cancelled or failed job, or one whose planning was cut off."""
    session = Session(settings)
    found, workspace = _find(session, job)
    if workspace.store.exists(workspace.success):
        raise UsageError(f"job {found.id} is complete")
    return _resubmit(session, found, workspace)


@cli.command("retry-errors")
@job_or_workspace
@options.with_settings(*options.STORAGE)
def retry_errors(settings: Settings, job: str) -> ExitCode:
    """Read a complete job's failed items again; the results are merged in place."""
    settings.broker_url()
    session = Session(settings)
    found, workspace = _find(session, job)
    return _resubmit(session, add_retry(found, workspace), workspace)


@cli.command()
@job_or_workspace
@options.with_settings(*options.STORAGE)
def gc(settings: Settings, job: str) -> ExitCode:
    """Remove everything that a cancelled job has written."""
    found, workspace = _find(Session(settings), job)
    click.echo(f"removed {remove_job(found, workspace):,} objects from {workspace.root}")
    return ExitCode.OK


@cli.group()
def models() -> None:
    """Recognition architectures and their weights."""


@models.command("list")
@as_json
@options.with_settings("model_store", *options.STORAGE)
def list_command(settings: Settings, json_output: bool) -> ExitCode:
    """List the architectures, which weights are at hand, and where from."""
    storage = Session(settings).storage
    entries = list_models(ModelStore(settings.model_store, storage) if settings.model_store else None)
    _print_json(entries) if json_output else render.print_models(Console(), entries)
    return ExitCode.OK


def main() -> None:
    """Run the program; every error ends in one line and the exit status that the README names."""
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except TraceOcrError as error:
        click.echo(f"error: {redacted(str(error))}", err=True)
        code = error.exit_code
    except redis.RedisError as error:
        click.echo(f"error: Redis (TRACE_OCR_REDIS_URL) cannot be used: {redacted(str(error))}", err=True)
        code = ExitCode.FAILED
    except BrokenPipeError:
        # The reader of a pipe (head) has enough; keep Python from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except Exception:
        # A bug of ours: the traceback is for the report, the status must not read as "some items failed".
        structlog.get_logger().exception("unexpected_error")
        code = ExitCode.FAILED
    sys.exit(code or 0)


def _settle(
    session: Session, source: str, output: str, job_id: str | None, *, urgent: bool
) -> tuple[Job, Workspace]:
    if job_id and not re.fullmatch(JOB_ID, job_id):
        raise UsageError(f"--job-id {job_id!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    settings, found = session.settings, identify_source(source)
    workspace = open_workspace(output, session.storage)
    wanted = Job(
        id=job_id or new_job_id(found.uri),
        parameters=settings.recognition_parameters(),
        source=found,
        chunk_size=settings.chunk_size,
        urgent=urgent,
        created_at=int(time.time()),
    )
    job = settle_job(wanted, workspace)
    if job_id and job.id != job_id:
        raise WorkspaceConflictError(
            f"{workspace.root} is job {job.id}'s: use another workspace for {job_id}"
        )
    return job, workspace


def _find(session: Session, name: str) -> tuple[Job, Workspace]:
    workspace = find_workspace(name, session.ledger_if_set, session.storage)
    return workspace.require_job(), workspace


def _steer(
    settings: Settings, name: str, action: Callable[[Job, Workspace, Ledger | None], None], done: str
) -> ExitCode:
    session = Session(settings)
    job, workspace = _find(session, name)
    action(job, workspace, session.ledger_if_set)
    click.echo(f"job {job.id} is {done}; chunks that are running end first")
    return ExitCode.OK


def _resubmit(session: Session, job: Job, workspace: Workspace) -> ExitCode:
    session.settings.broker_url()
    listing = list_source(job.source, session.storage, sys.stdin.buffer)
    job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    click.echo(job.id)
    return ExitCode.OK


def _wait(look: Callable[[], JobStatus], show: render.ShowStatus) -> JobStatus:
    while True:
        found = look()
        show(found)
        if found.ended:
            return found
        time.sleep(WATCH_SECONDS)


def _report(workspace: Workspace, head: int, json_output: bool) -> ExitCode:
    summary = workspace.load_summary()
    assert summary is not None
    if json_output:
        _print_json(summary)
    else:
        render.print_summary(Console(), summary, workspace.root)
        for line in first_lines(workspace, workspace.results, head):
            click.echo(msgspec.json.encode(line))
    return ExitCode.ITEMS_FAILED if summary["request_counts"]["failed"] else ExitCode.OK


def _print_merged(settings: Settings, name: str, which: Callable[[Workspace], str]) -> ExitCode:
    session = Session(settings)
    workspace = find_workspace(name, session.ledger_if_set, session.storage)
    if not workspace.store.exists(workspace.success):
        found = find_status(name, session.ledger_if_set, session.storage)
        raise TraceOcrError(f"job {found.id} is {found.status}: its lines are merged when it completes")
    with workspace.store.reader(which(workspace)) as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)
    return ExitCode.OK


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)))


if __name__ == "__main__":
    main()
