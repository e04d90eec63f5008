"""What `wait` shows on a terminal: a bar if rich is installed, else a line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from contract.job_status import JobStatus
from contract.printable import printable
from trace_ocr.jobs import ShowStatus

LINE_SECONDS = 10.0
"""Seconds between two lines while the job does the same thing."""


@contextmanager
def progress_shown(wanted: bool) -> Iterator[ShowStatus]:
    """Yield a function that shows statuses on standard error; nothing if that is not a terminal."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield _ignore
        return
    try:
        from trace_ocr.bar import bar_shown
    except ImportError:
        yield _Lines()
        return
    with bar_shown() as show:
        yield show


class _Lines:
    def __init__(self) -> None:
        self._next = 0.0
        self._phase = ""

    def __call__(self, status: JobStatus) -> None:
        if status.phase == self._phase and time.monotonic() < self._next:
            return
        self._phase, self._next = status.phase, time.monotonic() + LINE_SECONDS
        sys.stderr.write(printable(status.progress) + "\n")
        sys.stderr.flush()


def _ignore(status: JobStatus) -> None:
    """Show nothing."""
