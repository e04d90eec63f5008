"""Commands that read: status, watch, results, errors, view, models."""

import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from PIL import Image
from rich.console import Console

from contract.errors import ExitCode, TraceOcrError, UsageError
from contract.job_status import JobStatus
from contract.logs import redacted
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.states import State
from contract.workspace import Workspace
from producer.catalogue import list_models
from producer.cli import options, render
from producer.results.drawing import document_html
from producer.results.status import find_status, find_workspace, first_lines, status_of
from producer.results.view import Found, Pictures, find
from producer.session import Session

WATCH_SECONDS = 1.0
"""Seconds between two looks of `watch`."""


@click.command()
@click.argument("job", required=False, metavar="[JOB|WORKSPACE]")
@options.as_json
@options.with_settings(*options.STORAGE)
def status(settings: Settings, job: str | None, json_output: bool) -> ExitCode:
    """Show one job, or all that Redis remembers."""
    session, console = Session(settings), Console()
    if job:
        found = find_status(job, session.ledger_if_set, session.storage, session.index)
        print_json(found) if json_output else render.print_job(console, found)
        return ExitCode.OK
    known = (session.ledger.load(identity) for identity in session.ledger.jobs())
    statuses = [status_of(progress) for progress in known if progress]
    print_json(statuses) if json_output else render.print_jobs(console, statuses)
    return ExitCode.OK


@click.command()
@options.job_or_workspace
@options.as_json
@options.with_settings(*options.STORAGE)
def watch(settings: Settings, job: str, json_output: bool) -> ExitCode:
    """Show a job's progress until it ends; the exit status is the job's."""
    session = Session(settings)
    with render.progress_shown(Console(stderr=True)) as show:
        found = _wait(lambda: find_status(job, session.ledger_if_set, session.storage, session.index), show)
    if found.status is not State.COMPLETED:
        raise TraceOcrError(f"job {found.id} {found.status}: {found.error or 'see the log'}")
    return report(find_workspace(job, session.ledger_if_set, session.storage, session.index), 0, json_output)


@click.command()
@options.job_or_workspace
@options.with_settings(*options.STORAGE)
def results(settings: Settings, job: str) -> ExitCode:
    """Print a finished job's results, one JSON line per item, in source order."""
    return _print_merged(settings, job, lambda workspace: workspace.results)


@click.command()
@options.job_or_workspace
@options.with_settings(*options.STORAGE)
def errors(settings: Settings, job: str) -> ExitCode:
    """Print a finished job's failed items, one JSON line each, in source order."""
    return _print_merged(settings, job, lambda workspace: workspace.errors)


@click.command()
@options.job_or_workspace
@click.argument("item", metavar="ID")
@click.option("-o", "--output", help="HTML file to write; default: named after the item, in this directory")
@options.with_settings("max_bytes", "max_document_bytes", "max_pixels", *options.STORAGE)
def view(settings: Settings, job: str, item: str, output: str | None) -> ExitCode:
    """Draw an item's page with its boxes and words, as HTML; of a document, all its pages."""
    session = Session(settings)
    workspace = find_workspace(job, session.ledger_if_set, session.storage, session.index)
    known = workspace.require_job()
    with Pictures(session.storage, settings) as pictures:
        pages = find(workspace, known, item)
        html = document_html(known, item, ((found, _picture(found, pictures)) for found in pages))
    target = Path(output or _file_name(item))
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        reason = f"{target} cannot be written ({error.strerror}): name another file with -o"
        raise UsageError(reason) from error
    click.echo(f"{target}: {len(pages)} page{'s' if len(pages) > 1 else ''}, to be opened in a browser")
    return ExitCode.OK


def _picture(found: Found, pictures: Pictures) -> Image.Image | str:
    """Return an item's picture, or why there is none: what its line says is worth showing all the same."""
    try:
        return pictures.of(found)
    # Any exception: Pillow and pdfium raise whatever they trip over in a damaged file.
    except Exception as error:
        return redacted(f"{type(error).__name__}: {error}")


def _file_name(item: str) -> str:
    """Return a name for an item's page; of a long id its end, which tells pages apart."""
    # 60 characters are 240 bytes at most, and file systems allow 255.
    name = re.sub(r"[^\w.-]+", "-", item)[-60:].strip(".-")
    return f"{name or 'page'}.html"


@click.group()
def models() -> None:
    """Architectures and their weights."""


@models.command("list")
@options.as_json
@options.with_settings("model_store", *options.STORAGE)
def list_command(settings: Settings, json_output: bool) -> ExitCode:
    """List the architectures, which weights are at hand, and where from."""
    storage = Session(settings).storage
    entries = list_models(ModelStore(settings.model_store, storage) if settings.model_store else None)
    print_json(entries) if json_output else render.print_models(Console(), entries)
    return ExitCode.OK


def report(workspace: Workspace, head: int, json_output: bool) -> ExitCode:
    """Print a complete job's summary and its first `head` results; return the exit status it ends with."""
    summary = workspace.load_summary()
    assert summary is not None
    if json_output:
        print_json(summary)
    else:
        render.print_summary(Console(), summary, workspace.root)
        for line in first_lines(workspace, workspace.results, head):
            click.echo(msgspec.json.encode(line))
    return ExitCode.ITEMS_FAILED if summary["request_counts"]["failed"] else ExitCode.OK


def print_json(value: Any) -> None:
    """Print a value as JSON, for scripts."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)))


def _wait(look: Callable[[], JobStatus], show: render.ShowStatus) -> JobStatus:
    while True:
        found = look()
        show(found)
        if found.ended:
            return found
        time.sleep(WATCH_SECONDS)


def _print_merged(settings: Settings, name: str, which: Callable[[Workspace], str]) -> ExitCode:
    session = Session(settings)
    workspace = find_workspace(name, session.ledger_if_set, session.storage, session.index)
    if not workspace.store.exists(workspace.success):
        found = find_status(name, session.ledger_if_set, session.storage, session.index)
        raise TraceOcrError(f"job {found.id} is {found.status}: its lines are merged when it completes")
    with workspace.store.reader(which(workspace)) as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)
    return ExitCode.OK
