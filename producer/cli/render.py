"""Terminal output of commands: a table of jobs, one job, a summary. JSON output and progress are elsewhere.

What comes from outside goes through `escaped`. Names of files and folders are Text: in plain strings, a
console that was not made here interprets brackets as markup.
"""

import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from contract.counting import counted
from contract.job_status import JobStatus
from contract.printable import in_texts, printable
from producer.catalogue import CatalogueEntry
from producer.results.evaluation.report import Report
from producer.results.evaluation.table import COLUMNS
from producer.results.judgement import quality_low

SHOWN_DIGITS = 12
"""Hexadecimal digits of a checksum that tables show."""

COMPARED = frozenset({"exact", "cer", "threshold", "review", "crops_per_second"})
"""Columns of a comparison that fit on a terminal."""

UNFOLDED = 1_000
"""Characters of a line in a file or a pipe: `grep` finds what is neither cut off nor folded."""

T = TypeVar("T")


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error that shows brackets and colons in texts as they are."""
    console = Console(stderr=stderr, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNFOLDED
    return console


def escaped(value: T) -> T:
    """Return a status, summary or entry with the control characters in all its texts escaped."""
    return msgspec.convert(in_texts(printable, msgspec.to_builtins(value)), type(value))


def print_jobs(console: Console, statuses: list[JobStatus]) -> None:
    """Print a line per job, newest last."""
    # Users copy ids, so other columns shrink first.
    job = Column("job", no_wrap=True, min_width=max((len(status.id) for status in statuses), default=0))
    table = Table(job, "status", "items", "failed", "chunks", "rate", "left", "created", box=None)
    for status in map(escaped, statuses):
        counts, chunks = status.request_counts, status.chunks
        table.add_row(
            status.id,
            status.status,
            f"{status.items_read:,}/{counts.total:,}{'+' if status.planning else ''}",
            f"{counts.failed:,}",
            f"{chunks.done:,}/{chunks.total:,}",
            status.throughput,
            duration(status.eta_seconds),
            moment(status.created_at),
        )
    console.print(table)


def print_job(console: Console, status: JobStatus) -> None:
    """Print one job: its counts, what it does, each worker's running chunk, and its error."""
    status = escaped(status)
    print_jobs(console, [status])
    for line in (*_doing(status), *_as_submitted(status)):
        console.print(Text(line), soft_wrap=True)
    if status.error:
        console.print(f"error: {status.error}", style="red", markup=False, soft_wrap=True)


def _doing(status: JobStatus) -> Iterator[str]:
    now = time.time()
    yield f"source     {status.source}"
    yield f"workspace  {status.workspace}"
    yield f"last update {duration(now - status.updated_at)} ago"
    if status.headline and not status.error:
        yield f"state      {status.headline}"
    elif status.waiting_for:
        yield f"waiting for {status.waiting_for}"
    if status.error_codes:
        yield f"errors     {_counted(status.error_codes)}"
    if status.in_line:
        yield status.in_line
    for run in status.running:
        seen = duration(now - run.seen_at)
        yield f"  {run.worker}  chunk {run.chunk}: {counted(run.items, 'item')} read, {seen} ago"


def _as_submitted(status: JobStatus) -> Iterator[str]:
    if status.deadline is not None:
        yield _deadline(status)
    if status.tags:
        yield f"tags       {', '.join(status.tags)}"
    for name, text in status.metadata.items():
        yield f"  {name}={text}"
    if status.actions:
        yield f"actions    {', '.join(status.actions)}"


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in numbers.items())


def _deadline(status: JobStatus) -> str:
    """Return a job's deadline and its projected end as one line."""
    assert status.deadline is not None
    words = [f"deadline   {moment(status.deadline)}"]
    if status.margin_seconds is not None and status.projected_end is not None:
        side = "before" if status.margin_seconds >= 0 else "after"
        words.append(f"ends {moment(status.projected_end)}, {duration(abs(status.margin_seconds))} {side} it")
    elif not status.ended:
        words.append("its end is not known yet")
    return ", ".join([*words, *(["at risk"] if status.at_risk else [])])


def print_summary(console: Console, summary: dict[str, Any], workspace: str) -> None:
    """Print the summary of a completed job."""
    summary, workspace = escaped(summary), printable(workspace)
    counts, codes = summary["request_counts"], summary["error_codes"]
    table = Table(box=None, show_header=False)
    table.add_row("items", f"{counts['total']:,}: {counts['completed']:,} read, {counts['failed']:,} failed")
    if codes:
        table.add_row("errors", _counted(codes))
    if summary["passed_over"]:
        table.add_row("passed over", _counted(summary["passed_over"]))
    table.add_row("took", f"{duration(summary['wall_seconds'])}, {summary['items_per_second']:,} items/s")
    if summary.get("reading_seconds"):
        reading, rate = summary["reading_seconds"], summary["items_per_second_while_reading"]
        table.add_row("reading", f"{duration(reading)}, {rate:,} items/s")
    stages = ", ".join(f"{name} {value:.1f}" for name, value in summary["stage_seconds"].items())
    table.add_row("stages, s", f"{stages}; batches {summary['batch_fill']:.0%} full")
    if summary.get("review"):
        why = ", ".join(f"{count:,} {reason}" for reason, count in summary["review"]["reasons"].items())
        table.add_row("review", f"{counted(summary['review']['items'], 'item')}{': ' if why else ''}{why}")
    for model in summary["models"]:
        name = model.get("name", model["architecture"])
        table.add_row("model", Text(f"{name} on {model['device']}, {model['source']}"))
    _add_regions(table, summary.get("counts", {}), workspace)
    table.add_row("workspace", Text(workspace))
    console.print(table)
    print_quality(console, quality_low(summary))


def _add_regions(table: Table, counts: dict[str, int], workspace: str) -> None:
    """Add where the forms, and the texts that were written back, are."""
    if "forms" in counts:
        table.add_row("forms", Text(f"{counts['forms']:,}, in {workspace}/exports/forms.csv"))
    if "written_back" in counts:
        table.add_row(
            "written back", Text(f"{counted(counts['written_back'], 'text')}, in {workspace}/exports")
        )


def print_quality(console: Console, reasons: list[str]) -> None:
    """Print why a job's quality is low; nothing if it is not."""
    for reason in reasons:
        console.print(Text(f"quality low: {printable(reason)}", style="red"), soft_wrap=True)


def print_models(console: Console, entries: list[CatalogueEntry]) -> None:
    """Print a line per model."""
    table = Table(Column("name", min_width=35), "task", "weights", "licence", "from", box=None)
    for entry in map(escaped, entries):
        table.add_row(Text(entry.name), entry.task, entry.weights, Text(entry.licence), Text(_origin(entry)))
    console.print(table)


def _origin(entry: CatalogueEntry) -> str:
    """Return where a model's weights come from, and of a store's entry what identifies it."""
    characters = f"{entry.vocab_size} characters" if entry.vocab_size else ""
    known = (entry.architecture if entry.sha256 else "", characters, (entry.sha256 or "")[:SHOWN_DIGITS])
    details = ", ".join(part for part in known if part)
    return f"{entry.source} ({details})" if details else entry.source


def print_comparison(console: Console, report: Report, where: str) -> None:
    """Print a line per model, what to know about them, and where the report is."""
    report = escaped(report)
    columns = [column for column in COLUMNS if any(column.value(one) is not None for one in report.models)]
    shown = [column for column in columns if column.name in COMPARED] or columns
    table = Table("model", box=None)
    for column in shown:
        table.add_column(column.title, justify="right")
    for model in report.models:
        values = (column.value(model) for column in shown)
        cells = (
            "" if value is None else column.shown(value) for column, value in zip(shown, values, strict=True)
        )
        table.add_row(Text(model.name), *cells)
    console.print(table)
    for pair in [] if report.crops.with_truth else report.pairs:
        agreement = "" if pair.agreement is None else f"{pair.agreement:.2%}"
        console.print(Text(f"{pair.first} and {pair.second} agree on {agreement}"))
    for note in report.notes:
        console.print(Text(note), soft_wrap=True)
    console.print(Text(f"report     {where}"), soft_wrap=True)


def duration(seconds: float | None) -> str:
    """Return a duration as text for people; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(unix_seconds: float) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
