"""`results.jsonl` and `errors.jsonl`: every line exactly as its worker wrote it, in source order."""

import contextlib
from collections.abc import Iterator

from contract.job import Job
from contract.storage.streams import TranslatedStream
from contract.workspace import Workspace
from producer.results.line_index import Marker, store_index
from producer.results.sinks.base import Lines, MergedLine, SinkContext, Write

FLUSHED = 1 << 16
"""Bytes of lines that are written at once: with one call per line, they take half of a merge's time."""


class _Buffer:
    """Lines on their way into a file.

    Args:
        marker: counts what is written
    """

    def __init__(self, target: TranslatedStream, marker: Marker) -> None:
        self._target, self._marker = target, marker
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        """Add a line without its newline."""
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size >= FLUSHED:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if self._lines:
            self._target.write(b"\n".join((*self._lines, b"")))
            self._marker.add(self._size, len(self._lines))
            self._lines, self._size = [], 0


class JsonLines:
    """The lines that every job writes."""

    kinds = None
    media_types = ("application/jsonl", "application/x-ndjson")

    def check(self, job: Job) -> None:
        """Accept every job."""

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that writes a line to `results.jsonl` or `errors.jsonl`."""
        workspace = context.workspace
        marked = {workspace.results: Marker(), workspace.errors: Marker()}
        result_marks, error_marks = marked.values()
        with (
            workspace.store.writer(workspace.results) as results,
            workspace.store.writer(workspace.errors) as errors,
        ):
            read, failed = _Buffer(results, result_marks), _Buffer(errors, error_marks)

            def write(merged: MergedLine) -> None:
                (failed if merged.failure else read).add(merged.line)

            yield write
            read.flush()
            failed.flush()
        for uri, marker in marked.items():
            store_index(workspace, uri, marker.index())

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URIs of both files and their indexes."""
        for uri in (workspace.results, workspace.errors):
            yield from (uri, workspace.line_index(uri))

    def files(self, job: Job, workspace: Workspace, lines: Lines) -> list[str]:  # noqa: ARG002 - of the interface
        """Return the URI of the file of results or of errors."""
        return [workspace.results if lines == "results" else workspace.errors]


SINK = JsonLines()
