"""A progress bar by rich, which need not be installed: only `progress` imports this."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contract.job_status import JobStatus
from contract.printable import printable
from trace_ocr.jobs import ShowStatus


@contextmanager
def bar_shown() -> Iterator[ShowStatus]:
    """Yield a function that shows statuses as a bar on standard error."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None, rate="", failed="")

        def show(status: JobStatus) -> None:
            failed = status.request_counts.failed
            bar.update(
                task,
                description=printable(f"{status.id}: {status.phase}"),
                total=status.request_counts.total or None,
                completed=status.items_read,
                rate=status.throughput,
                failed=f"{failed:,} failed" if failed else "",
            )

        yield show
