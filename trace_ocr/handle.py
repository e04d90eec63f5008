"""One job on the other side of the HTTP API."""

import importlib
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from rich.console import Console

from contract.job_status import JobStatus
from contract.states import State
from producer.cli import render
from trace_ocr.connection import Connection
from trace_ocr.errors import JobCancelledError, JobFailedError, PandasMissingError, WaitTimeoutError
from trace_ocr.lines import json_lines

LOOK_SECONDS = 1.0
"""Seconds between two looks of `wait`."""

RESULT_COLUMNS = ("id", "name", "value", "confidence")
"""Columns of a table of results, also of an empty one."""


class JobHandle:
    """A job by its id; nothing is asked of the API until a method is called.

    Every method raises ApiError where the API refuses or fails, and UnreachableError where it is not there.
    """

    def __init__(self, connection: Connection, identity: str) -> None:
        self._connection = connection
        self.id = identity

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return self._connection.call("GET", f"jobs/{self.id}", JobStatus)

    def wait(self, timeout: float | None = None, progress: bool = True) -> JobStatus:
        """Wait until the job is complete and return its last status; a paused job is waited for.

        Args:
            timeout: seconds, None for as long as it takes
            progress: show a bar on standard error, if that is a terminal

        Raises:
            JobFailedError: it failed
            JobCancelledError: it was cancelled
            WaitTimeoutError: it has not ended in time
        """
        console = Console(stderr=True)
        shown = progress and console.is_terminal
        with render.progress_shown(console) if shown else nullcontext(_ignore) as show:
            status = self._ended(timeout, show)
        if status.status is State.FAILED:
            raise JobFailedError(status)
        if status.status is State.CANCELLED:
            raise JobCancelledError(status)
        return status

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the results of a complete job in source order, as they come over the network."""
        return json_lines(self._connection, f"jobs/{self.id}/results")

    def errors(self) -> Iterator[dict[str, Any]]:
        """Yield the failed items of a complete job likewise."""
        return json_lines(self._connection, f"jobs/{self.id}/errors")

    def to_pandas(self) -> Any:
        """Return the results as a pandas.DataFrame, all in memory.

        Raises:
            PandasMissingError: pandas is not installed
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise PandasMissingError("to_pandas needs pandas: pip install pandas") from error
        rows = list(self.results())
        return pandas.DataFrame(rows, columns=None if rows else list(RESULT_COLUMNS))

    def cancel(self) -> JobStatus:
        """End the job after its running chunks; what is read stays."""
        return self._steer("cancel")

    def pause(self) -> JobStatus:
        """Stop the job after its running chunks until it is resumed."""
        return self._steer("pause")

    def resume(self) -> JobStatus:
        """Continue a paused job."""
        return self._steer("resume")

    def retry_errors(self) -> JobStatus:
        """Read a complete job's failed items again; its results are merged anew."""
        return self._steer("retry-errors")

    def _steer(self, action: str) -> JobStatus:
        return self._connection.call("POST", f"jobs/{self.id}/{action}", JobStatus, idempotent=False)

    def _ended(self, timeout: float | None, show: render.ShowStatus) -> JobStatus:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self.status()
            show(status)
            if status.ended:
                return status
            left = LOOK_SECONDS if end is None else end - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(
                    f"job {self.id} is {status.status} after {timeout:g} s and goes on; wait for it again"
                )
            self._connection.sleep(min(left, LOOK_SECONDS))


def _ignore(status: JobStatus) -> None:
    """Show nothing."""
