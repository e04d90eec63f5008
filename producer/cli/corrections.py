"""`trace-ocr corrections` and `trace-ocr correct`: what people have corrected, in and out."""

import getpass
import sys
import time

import click

from contract.counting import counted
from contract.errors import ExitCode, UsageError
from contract.job import Job
from contract.printable import printable_json
from contract.settings import Settings
from contract.storage import absolute
from contract.storage.failures import failing_as
from contract.workspace import Workspace
from producer.cli import options
from producer.cli.lines import merged
from producer.cli.terminal import echo
from producer.control.steer import merge_again
from producer.planning.submit import request_job
from producer.results.correcting import check_correctable, corrections_of, wishes_for
from producer.results.correction_formats import FORMATS
from producer.results.corrections import load, record
from producer.results.evaluation.truth import MAX_TRUTH_BYTES
from producer.results.evaluation.truth_forms import truth_lines
from producer.results.merge import merge
from producer.results.opening import OpenJobs
from producer.results.sinks.base import Access
from producer.session import Session

SHOWN_IDS = 3
"""Ids without a result that a message names."""

BATCH = 5_000
"""Corrections of a file that are recorded at once."""


@options.command()
@options.job_or_workspace
@click.option("--format", "name", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True)
@options.with_settings(*options.WATCHING)
def corrections(settings: Settings, job: str, name: str) -> ExitCode:
    """Print what was corrected of a finished job: all of it, or the last texts for docTR or Label Studio."""
    _, workspace, found = merged(settings, job)
    target = sys.stdout.buffer
    for text in FORMATS[name](found, workspace, load(workspace)):
        target.write(printable_json(text.decode()).encode() if target.isatty() else text)
    return ExitCode.OK


@options.command()
@options.job_or_workspace
@click.argument("file", required=False)
@options.with_settings(*options.WATCHING)
def correct(settings: Settings, job: str, file: str | None) -> ExitCode:
    """Correct crops with the texts in FILE, and merge a finished job again with all corrections so far.

    FILE is docTR's labels.json, JSONL or CSV with id and label, or lines of id<TAB>text.
    """
    session, workspace, found = merged(settings, job)
    if file:
        _record(session, workspace, found, file)
    if session.ledger_if_set:
        merge_again(found, workspace, session.ledger)
        request_job(found, workspace, session.ledger)
        echo(f"{found.id} is merged again by control")
        return ExitCode.OK
    summary = merge(found, workspace, access=Access(session.storage, settings))
    applied = summary.get("corrections", {}).get("applied", 0)
    echo(f"{found.id} is merged again, with {counted(applied, 'corrected text')}")
    return ExitCode.OK


def _record(session: Session, workspace: Workspace, job: Job, file: str) -> None:
    texts = _texts(session, absolute(file))
    items = OpenJobs().items(workspace, job)
    check_correctable(items.kind)
    wishes = wishes_for(texts, items)
    missing = texts.keys() - {wish.id for wish in wishes}
    if not wishes:
        raise UsageError(f"{file} names no crop that {job.id} has read: its ids are those of results.jsonl")
    made = corrections_of(wishes, items, getpass.getuser(), time.time())
    for start in range(0, len(made), BATCH):
        record(workspace, made[start : start + BATCH])
    echo(f"{counted(len(made), 'text')} of {file} recorded")
    if missing:
        named = ", ".join(sorted(missing)[:SHOWN_IDS])
        more = " ..." if len(missing) > SHOWN_IDS else ""
        echo(f"{counted(len(missing), 'id has', 'ids have')} no result: {named}{more}")


def _texts(session: Session, uri: str) -> dict[str, str]:
    """Return the texts in a file, by id; raises UsageError if it cannot be read or has another form."""
    with failing_as(UsageError, "the corrections cannot be read"):
        data = session.storage.at(uri).read(uri, MAX_TRUTH_BYTES)
    return {line.key: line.text for line in truth_lines(uri, data, None)}
