"""The progress of a job on a terminal: a bar, or lines in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from contract.job_status import JobStatus
from producer.cli.render import escaped

QUIET_SECONDS = 10.0
"""Seconds between progress lines if standard error is not a terminal, to keep logs short."""


class ShowStatus(Protocol):
    """Called with each new status."""

    def __call__(self, status: JobStatus) -> None: ...


@contextmanager
def progress_shown(console: Console) -> Iterator[ShowStatus]:
    """Yield a function that shows statuses: as a bar on a terminal, else as a line every QUIET_SECONDS."""
    if not console.is_terminal:
        yield _ProgressLines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None, rate="", failed="")

        def show(status: JobStatus) -> None:
            status = escaped(status)
            failed = status.request_counts.failed
            bar.update(
                task,
                description=f"{status.id}: {status.phase}",
                total=status.request_counts.total or None,
                completed=status.items_read,
                rate=status.throughput,
                failed=f"{failed:,} failed" if failed else "",
            )

        yield show


class _ProgressLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._last = ""

    def __call__(self, status: JobStatus) -> None:
        if time.monotonic() < self._next and status.phase == self._last:
            return
        self._next, self._last = time.monotonic() + QUIET_SECONDS, status.phase
        self._console.print(Text(escaped(status).progress), highlight=False, soft_wrap=True)
