"""`trace-ocr`: a thin shell over the producer's functions; flags > environment > settings file > defaults."""

import os
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click
import redis
import structlog
from rich.console import Console

from contract.broker.reports import make_reporter
from contract.child_processes import python_module
from contract.errors import ExitCode, InterruptedRunError, TraceOcrError, UsageError, WorkspaceConflictError
from contract.job import JOB_ID, Job, new_job_id
from contract.kinds import DEFAULT_KIND, KINDS
from contract.logs import configure_logging, redacted
from contract.settings import Settings, environment_of
from contract.states import State
from contract.workspace import Workspace, open_workspace
from producer.cli import flower as flower_command
from producer.cli import options, render
from producer.cli import read as cli_read
from producer.cli import serve as cli_serve
from producer.cli import steer as cli_steer
from producer.cli.read import print_json, report
from producer.local.run import run_job
from producer.planning.planner import PLANNERS
from producer.planning.submit import settle_job, submit_job
from producer.results.sinks import formats_of
from producer.session import Session
from producer.sources import identify_source

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 plus SIGINT."""

source = click.argument("source")
output = click.option("-o", "--output", required=True, help="The job's workspace: a folder or s3:// prefix.")
kind = click.option(
    "--kind",
    type=click.Choice(tuple(KINDS)),
    default=DEFAULT_KIND,
    show_default=True,
    help="; ".join(f"{one.name}: {one.help}" for one in KINDS.values()) + ".",
)
job_id = click.option("--job-id", help="Name of a new job; made from the source's name by default.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="trace-ocr-batch")
def cli() -> None:
    """Batch OCR: crops or pages in, JSONL out, through Redis, Celery workers and docTR.

    Exit status: 0 every item read, 1 some items failed, 2 usage, 3 the job or the system failed.
    """


@cli.command()
@source
@output
@kind
@job_id
@click.option("--head", "head", default=0, help="Print the first N results as well.", metavar="N")
@options.as_json
@options.with_settings(*options.JOB, *options.WORKER, *options.STORAGE)
def run(
    settings: Settings,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    head: int,
    json_output: bool,
) -> ExitCode:
    """Read SOURCE (folder, file, s3:// prefix, manifest or -) on this machine; exits when all is done.

    Needs no Redis: without TRACE_OCR_REDIS_URL it starts one of its own. Running it again into the same
    workspace continues where it stopped.
    """
    if "log_level" not in settings.model_fields_set:
        # Progress is shown; here the log is for what goes wrong.
        settings = settings.model_copy(update={"log_level": "warning"})
        configure_logging(settings)
    session = Session(settings)
    job, workspace = _settle(session, source, output, kind, job_id, urgent=False)
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
        if status.status is not State.COMPLETED:
            raise TraceOcrError(f"job {job.id} {status.status}: {status.error or 'see the log'}")
    return report(workspace, head, json_output)


@cli.command()
@source
@output
@kind
@job_id
@click.option("--urgent", is_flag=True, help="Overtake jobs that are not urgent.")
@options.as_json
@options.with_settings(*options.JOB, *options.STORAGE)
def submit(
    settings: Settings,
    source: str,
    output: str,
    kind: str,
    job_id: str | None,
    urgent: bool,
    json_output: bool,
) -> ExitCode:
    """Plan SOURCE into a workspace and queue it for the workers; prints the job's id.

    Submitting again into the same workspace continues the job.
    """
    settings.broker_url()
    session = Session(settings)
    job, workspace = _settle(session, source, output, kind, job_id, urgent=urgent)
    if not workspace.store.exists(workspace.success):
        session.index.note(job, workspace)
        listing = session.listing(job, sys.stdin.buffer)
        job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    assert job.plan is not None
    if json_output:
        print_json({"id": job.id, "workspace": workspace.root, **job.plan.model_dump()})
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
    os.execve(sys.executable, python_module("worker.app.launcher"), environment)  # noqa: S606


@cli.command()
@options.with_settings(*options.STORAGE)
def control(settings: Settings) -> ExitCode:
    """Plan, merge, and send lost chunks again, until stopped; one is needed, more do no harm.

    Planned here are the jobs that come over HTTP; `submit` plans its own.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    session = Session(settings)
    loop, planner = session.control(), session.planner()
    structlog.get_logger().info("control_started", pid=os.getpid())
    reporter = make_reporter(settings, "control", f"control@{socket.gethostname()}")
    with reporter, ThreadPoolExecutor(PLANNERS, thread_name_prefix="plan") as threads:
        try:
            for _ in range(PLANNERS):
                threads.submit(planner.run, stop)
            loop.run(stop)
        finally:
            stop.set()
    return ExitCode.OK


for command in (
    cli_read.status, cli_read.watch, cli_read.results, cli_read.errors, cli_read.view, cli_read.models,
    cli_serve.api, cli_serve.api_key, flower_command.flower,
    cli_steer.pause, cli_steer.cancel, cli_steer.resume, cli_steer.retry_errors, cli_steer.gc,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the program; every error ends in one line and the exit status that the README names."""
    # Spawned children start as `python -c`, which imports from the current folder first unless told not to.
    os.environ["PYTHONSAFEPATH"] = "1"
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
    session: Session, source: str, output: str, kind: str, job_id: str | None, *, urgent: bool
) -> tuple[Job, Workspace]:
    if job_id and not re.fullmatch(JOB_ID, job_id):
        raise UsageError(f"--job-id {job_id!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    settings, found = session.settings, identify_source(source)
    workspace = open_workspace(output, session.storage)
    wanted = Job(
        id=job_id or new_job_id(found.uri),
        kind=kind,
        parameters=settings.parameters_of(kind),
        exports=formats_of(settings.exports, kind),
        source=found,
        chunk_size=settings.chunk_size_of(kind),
        urgent=urgent,
        created_at=int(time.time()),
    )
    job = settle_job(wanted, workspace)
    if job_id and job.id != job_id:
        raise WorkspaceConflictError(
            f"{workspace.root} is job {job.id}'s: use another workspace for {job_id}"
        )
    return job, workspace


if __name__ == "__main__":
    main()
