"""`trace-ocr evaluate` and `trace-ocr compare`: which model to trust, and at which threshold."""

from dataclasses import replace

import click

from contract.errors import ExitCode
from contract.kinds.compare import CompareParameters
from contract.settings import Settings
from contract.storage import absolute
from contract.workspace import Workspace, open_workspace
from producer.cli import job_arguments, options, render
from producer.cli.job_arguments import Asked
from producer.cli.read import exit_code_of, print_json
from producer.cli.run import run_to_end
from producer.results.evaluation.files import HTML, Folder, load_report
from producer.results.evaluation.report import Report
from producer.results.evaluation.workspaces import evaluate as evaluate_workspaces
from producer.session import Session

JUDGING = ("truth", "by", "target_precision")
"""Settings of how readings are judged."""


@options.command()
@click.argument("workspaces", nargs=-1, required=True, metavar="WORKSPACE...")
@click.option("-o", "--output", required=True, help="Folder or remote prefix for the report's files.")
@options.as_json
@options.with_settings(*JUDGING, "model_store", *options.REMOTE)
def evaluate(settings: Settings, workspaces: tuple[str, ...], output: str, json_output: bool) -> ExitCode:
    """Compare the models of finished recognition or compare workspaces, crop by crop, with the truth."""
    session = Session(settings)
    opened = [open_workspace(workspace, session.storage) for workspace in workspaces]
    root = absolute(output)
    _print(_judge(opened, Folder(root, session.storage.at(root)), session), root, json_output)
    return ExitCode.OK


@options.command()
@options.as_json
@options.with_settings(
    "models",
    *JUDGING,
    "characters",
    "recognition_batch_size",
    "chunk_size",
    "sample",
    "seed",
    *options.MODELS,
    *options.IMAGES,
    *options.WATCHING,
    *options.DELIVERY,
    "reconcile_seconds",
)
@job_arguments.asking("sources", "output", "regions", *job_arguments.SELECTING, "job_id")
def compare(settings: Settings, asked: Asked, json_output: bool) -> ExitCode:
    """Read SOURCE... with several --models on this machine, and report which one is right how often.

    The report is written into the workspace. Running it again with another truth writes it again, without
    reading the crops again.
    """
    session = Session(settings)
    workspace = open_workspace(asked.output, session.storage)
    job = workspace.load_job()
    complete = job is not None and workspace.is_complete(job.id)
    workspace = run_to_end(settings, replace(asked, kind="compare"))
    folder = Folder(workspace.root, workspace.store)
    report = _judge([workspace], folder, session) if complete else load_report(folder)
    _print(report, workspace.root, json_output)
    summary = workspace.load_summary()
    return exit_code_of(summary, workspace.require_job()) if summary else ExitCode.OK


def _judge(workspaces: list[Workspace], folder: Folder, session: Session) -> Report:
    asked = session.settings.parameters_of("compare")
    assert isinstance(asked, CompareParameters)
    return evaluate_workspaces(
        workspaces,
        folder,
        session.storage,
        session.model_store,
        asked.truth,
        asked.by,
        asked.target_precision,
    )


def _print(report: Report, root: str, json_output: bool) -> None:
    if json_output:
        print_json(report)
    else:
        render.print_comparison(render.make_console(), report, f"{root.rstrip('/')}/{HTML}")
