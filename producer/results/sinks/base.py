"""The interface of result formats: take the merged lines in source order and write files."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import msgspec

from contract.errors import JobError
from contract.job import Job
from contract.lines import Failure
from contract.model_store import ModelStore
from contract.records import Item, identity_of
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from producer.results.sinks.by_chunk import ByChunk
from producer.results.sinks.page_exports import PageExports
from producer.results.totals import Totals


class MergedLine(msgspec.Struct, frozen=True, gc=False):
    """A line without its newline, its failure if it is an error line, and its chunk's number.

    `confidence` is that of its least certain text; None if it has none.

    A struct, because one is made per line: a named tuple takes four times as long.
    """

    line: bytes
    failure: Failure | None
    chunk: int
    confidence: float | None = None


Write = Callable[[MergedLine], None]

Lines = Literal["results", "errors"]
"""The two kinds of lines that a job ends in."""


@dataclass(frozen=True)
class Access:
    """What a sink may read besides the workspace: what is below the settings' allowed roots."""

    storage: Storage
    settings: Settings

    @property
    def roots(self) -> AllowedRoots:
        """The allowed roots."""
        return AllowedRoots(self.settings.allowed_roots)

    @property
    def model_store(self) -> ModelStore | None:
        """The model store, or None if none is set."""
        root = self.settings.model_store
        return ModelStore(root, self.storage) if root else None


@dataclass(frozen=True)
class SinkContext:
    """The merge that sinks write for; `totals` are complete once the last line is written."""

    job: Job
    workspace: Workspace
    totals: Totals = field(default_factory=Totals)
    access: Access | None = None

    @cached_property
    def pages(self) -> PageExports:
        """The workers' exports of each page, shared by the sinks that need them."""
        return PageExports(self.job, self.workspace)

    def item(self, merged: MergedLine) -> Item:
        """Return the item that a line is of; raises JobError if its chunk does not hold it."""
        identity = identity_of(merged.line)
        item = self._items.get(identity, merged.chunk)
        if item is None:
            raise JobError(
                f"{self.workspace.chunk(merged.chunk)} lacks {identity!r}: it was replaced since; submit the "
                "source into a new workspace"
            )
        return item

    @cached_property
    def _items(self) -> ByChunk[Item]:
        return ByChunk(self.job, lambda chunk: {item.id: item for item in self.workspace.items(chunk)})


class Sink(Protocol):
    """One result format."""

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of jobs that can write this format; None for all."""

    def check(self, job: Job) -> None:
        """Raise UsageError if the job's parameters rule this format out."""

    def open(self, context: SinkContext) -> AbstractContextManager[Write]:
        """Yield a function that takes the merged lines in order; each file ends complete or absent.

        Raises:
            JobError: a worker's export is missing or damaged
        """

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URI of every file that it writes for a job; the job's parts must exist."""


class LineSink(Sink, Protocol):
    """A format of the results and errors themselves."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """Its names over HTTP, the usual one first."""

    def files(self, job: Job, workspace: Workspace, lines: Lines) -> list[str]:
        """Return the URIs of its files of results or of errors, in source order."""
