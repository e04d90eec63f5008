"""What every result format does: it takes the merged lines in source order, and writes files."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from contract.job import Job
from contract.lines import Failure
from contract.workspace import Workspace
from producer.results.sinks.page_exports import PageExports


class MergedLine(NamedTuple):
    """A line without its newline, the failure in it if it is an error line, and the number of its chunk."""

    line: bytes
    failure: Failure | None
    chunk: int


Write = Callable[[MergedLine], None]


@dataclass(frozen=True)
class SinkContext:
    """The merge that sinks write for."""

    job: Job
    workspace: Workspace

    @cached_property
    def pages(self) -> PageExports:
        """What workers exported of each page, shared by the sinks that need it."""
        return PageExports(self.job, self.workspace)


class Sink(Protocol):
    """One result format."""

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of jobs that can write it; None for all."""

    def check(self, job: Job) -> None:
        """Raise UsageError if the job's parameters leave no way to make it."""

    def open(self, context: SinkContext) -> AbstractContextManager[Write]:
        """Yield what takes the merged lines, in order; each file is whole at the block's end, or not there.

        Raises:
            JobError: what workers wrote is missing or damaged
        """

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URI of everything that it writes of a job, while the job's chunks are there."""
