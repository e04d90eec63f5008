"""Commands that give out what a finished job has written: results, errors, review."""

import shutil
import sys
from pathlib import Path
from typing import IO, cast

import click

from contract.counting import counted
from contract.errors import ExitCode, TraceOcrError, UsageError
from contract.job import Job
from contract.settings import Settings
from contract.storage import COPY_BYTES, absolute, join
from contract.workspace import Workspace
from producer.cli import options
from producer.cli.terminal import copy_json_lines, echo
from producer.results.sinks import JSONL, RESULTS, line_sink, results_of
from producer.results.sinks.base import Lines
from producer.results.status import find_status, find_workspace
from producer.session import Session

_format = click.option(
    "--format",
    "name",
    type=click.Choice(RESULTS),
    default=JSONL,
    show_default=True,
    help="One of the formats that the job was to write with --results.",
)
_output = click.option(
    "-o",
    "--output",
    help="Write to this file or s3:// object, or into this folder, which ends in a slash.",
)


@options.command()
@options.job_or_workspace
@_format
@_output
@options.with_settings(*options.WATCHING)
def results(settings: Settings, job: str, name: str, output: str | None) -> ExitCode:
    """Print a finished job's results, in source order: one JSON line per item, or Parquet or CSV."""
    return _give_out(settings, job, "results", name, output)


@options.command()
@options.job_or_workspace
@_format
@_output
@options.with_settings(*options.WATCHING)
def errors(settings: Settings, job: str, name: str, output: str | None) -> ExitCode:
    """Print a finished job's failed items, in source order, in the same formats."""
    return _give_out(settings, job, "errors", name, output)


@options.command()
@options.job_or_workspace
@options.with_settings(*options.WATCHING)
def review(settings: Settings, job: str) -> ExitCode:
    """Print a finished job's readings in doubt, one JSON line per item, in source order."""
    _, workspace, found = merged(settings, job)
    if not found.checks.review:
        raise UsageError(f"{job} has no min_confidence, expect or validators: nothing of it was reviewed")
    return _print_lines(workspace, workspace.review)


def merged(settings: Settings, name: str) -> tuple[Session, Workspace, Job]:
    """Return a complete job by its id or workspace; raises TraceOcrError if it is not complete."""
    session = Session(settings)
    workspace = find_workspace(name, session.ledger_if_set, session.storage, session.index)
    job = workspace.require_job()
    if not workspace.is_complete(job.id):
        found = find_status(name, session.ledger_if_set, session.storage, session.index)
        raise TraceOcrError(f"job {found.id} is {found.status}: its lines are merged on completion")
    return session, workspace, job


def _give_out(settings: Settings, named: str, lines: Lines, name: str, output: str | None) -> ExitCode:
    session, workspace, job = merged(settings, named)
    if name not in results_of(job):
        raise UsageError(
            f"{named} wrote its results as {' and '.join(results_of(job))}: to have {name}, submit it with "
            f"--results {','.join((*results_of(job), name))}"
        )
    files = line_sink(name).files(job, workspace, lines)
    if output is not None:
        for uri in files:
            _copy(workspace, uri, _target(output, uri, len(files)), session)
        return ExitCode.OK
    if len(files) > 1:
        raise UsageError(f"{named} has {counted(len(files), 'file')} of {name}: give a folder, -o FOLDER/")
    if name == JSONL:
        return _print_lines(workspace, files[0])
    is_terminal, is_text = sys.stdout.isatty(), line_sink(name).media_types[0].startswith("text/")
    if is_terminal and not is_text:
        raise UsageError(f"{name} is no text for a terminal: give a file with -o, or redirect the output")
    with workspace.store.reader(files[0]) as stream:
        if is_terminal:
            for line in stream:
                echo(line.decode(errors="replace").rstrip("\r\n"))
        else:
            shutil.copyfileobj(cast("IO[bytes]", stream), sys.stdout.buffer, COPY_BYTES)
    return ExitCode.OK


def _target(output: str, uri: str, files: int) -> str:
    """Return where a file is copied to."""
    if output.endswith("/") or Path(output).is_dir():
        return join(absolute(output), uri.rpartition("/")[2])
    if files > 1:
        raise UsageError(
            f"there are {counted(files, 'file')}: end the name of their folder with a slash, -o {output}/"
        )
    return absolute(output)


def _copy(workspace: Workspace, uri: str, target: str, session: Session) -> None:
    with workspace.store.reader(uri) as stream, session.storage.at(target).writer(target) as copy:
        shutil.copyfileobj(cast("IO[bytes]", stream), cast("IO[bytes]", copy), COPY_BYTES)


def _print_lines(workspace: Workspace, uri: str) -> ExitCode:
    with workspace.store.reader(uri) as stream:
        copy_json_lines(stream, sys.stdout.buffer)
    return ExitCode.OK
