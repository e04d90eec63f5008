"""`trace-ocr run`: a job from start to end on this machine."""

import os
import signal
import sys

import click

from contract.broker.ledger import Ledger
from contract.errors import ExitCode, InterruptedRunError, TraceOcrError
from contract.job import Job
from contract.logs import configure_logging
from contract.settings import Settings
from contract.states import State
from contract.workspace import Workspace
from producer.cli import dry_run, job_arguments, new_job, options, render
from producer.cli.dry_run import DryRun, show_estimate
from producer.cli.job_arguments import Asked
from producer.cli.new_job import settle
from producer.cli.progress import progress_shown
from producer.cli.read import report
from producer.cli.terminal import echo
from producer.local.run import namespace_of, run_job
from producer.planning.claim import Ids
from producer.session import Session


@options.command()
@click.option("--head", "head", default=0, help="Also print the first N results.", metavar="N")
@options.as_json
@dry_run.options
@options.with_settings(
    *options.JOB,
    *options.MODELS,
    *options.IMAGES,
    *options.WATCHING,
    *options.DELIVERY,
    *options.SENDING,
    "reconcile_seconds",
)
@job_arguments.with_write_back
@job_arguments.asking(
    "sources", "output", "kind", "regions", *job_arguments.SELECTING, "job_id", "changed", "reuse"
)
def run(
    settings: Settings,
    asked: Asked,
    head: int,
    json_output: bool,
    dry_run: DryRun | None,
) -> ExitCode:
    """Read SOURCE... (folder, file, prefix, shards, manifest, inventory or -) here; exit when the job ends.

    No Redis is needed: without TRACE_OCR_REDIS_URL, the command starts its own. Running it again with the
    same workspace continues the job.
    """
    if dry_run:
        session = Session(quieted(settings))
        job, workspace = new_job.described(session, asked)
        return show_estimate(dry_run, job, workspace, session, json_output=json_output)
    return report(run_to_end(settings, asked), head, json_output)


def run_to_end(settings: Settings, asked: Asked) -> Workspace:
    """Run a job on this machine and show its progress; return its workspace.

    Exits if the user stops it.

    Raises:
        TraceOcrError: the job did not complete
    """
    settings = quieted(settings)
    session = Session(settings)
    job, workspace = settle(session, asked, _ids(session, asked.job_id))
    read_here(settings, job, workspace)
    return workspace


def quieted(settings: Settings) -> Settings:
    """Return the settings of a command that shows progress: its log has only warnings and errors."""
    if "log_level" in settings.model_fields_set:
        return settings
    settings = settings.model_copy(update={"log_level": "warning"})
    configure_logging(settings)
    return settings


def read_here(settings: Settings, job: Job, workspace: Workspace) -> None:
    """Read a job on this machine unless it is complete, and show its progress; exit if the user stops it.

    Raises:
        TraceOcrError: the job did not complete
    """
    if workspace.is_complete(job.id):
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress_shown(render.make_console(stderr=True)) as show:
            environment = dict(os.environ)
            status = run_job(job, workspace, settings, environment, sys.stdin.buffer, show)
    except (KeyboardInterrupt, InterruptedRunError):
        kept = len(workspace.part_numbers())
        advice = "To continue, run the same command again"
        echo(f"stopped; {kept} finished chunks are kept in {workspace.root}. {advice}", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    if status.status is not State.COMPLETED:
        raise TraceOcrError(f"job {job.id} {status.status}: {status.error or 'see the log'}")


def _ids(session: Session, job_id: str | None) -> Ids | None:
    """Return the ids in this run's own namespace of a shared Redis; nobody else sees a run's job."""
    if not job_id or not session.settings.redis_url:
        return None
    return Ids(Ledger(session.client, namespace_of(session.settings, job_id)), None)
