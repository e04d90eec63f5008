"""`trace-ocr submit`: plan a job and queue it."""

import sys

import click

from contract.counting import counted
from contract.errors import ExitCode
from contract.settings import Settings
from producer.cli import dry_run, job_arguments, new_job, options
from producer.cli.dry_run import DryRun, show_estimate
from producer.cli.job_arguments import Asked
from producer.cli.new_job import settle
from producer.cli.read import print_json, report, wait_for
from producer.cli.terminal import echo
from producer.planning.submit import submit_job
from producer.results.sinks import WRITE_BACK
from producer.session import Session


@options.command()
@click.option("--wait", is_flag=True, help="Wait until the job has ended; the exit status tells how.")
@options.as_json
@dry_run.options
@options.with_settings(*options.JOB, *options.TURN, "model_store", "max_document_bytes", *options.WATCHING)
@job_arguments.with_write_back
@job_arguments.asking(
    "sources", "output", "kind", "regions", *job_arguments.SELECTING, "job_id", "changed", "reuse", "urgent"
)
def submit(
    settings: Settings,
    asked: Asked,
    wait: bool,
    json_output: bool,
    dry_run: DryRun | None,
) -> ExitCode:
    """Plan the items of SOURCE... into a workspace and queue it for the workers; print the job's id.

    Submitting again with the same workspace continues the job.
    """
    session = Session(settings)
    if dry_run:
        wanted, workspace = new_job.described(session, asked)
        return show_estimate(dry_run, wanted, workspace, session, json_output=json_output)
    settings.broker_url()
    if WRITE_BACK in settings.exports and asked.regions and settings.allowed_roots:
        # Control reads the files again when it merges, in days maybe.
        session.roots.check(asked.regions.uri)
    job, workspace = settle(session, asked, session.ids)
    if not workspace.is_complete(job.id):
        session.index.note(job, workspace)
        listing = session.listing(job, sys.stdin.buffer)
        job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    assert job.plan is not None
    if wait:
        wait_for(session, workspace.root)
        return report(workspace, 0, json_output)
    if json_output:
        print_json({"id": job.id, "workspace": workspace.root, **job.plan.model_dump()})
    else:
        echo(job.id)
        planned = f"{counted(job.plan.items, 'item')} in {counted(job.plan.chunks, 'chunk')}"
        echo(f"{planned}, in {workspace.root}", err=True)
    return ExitCode.OK
