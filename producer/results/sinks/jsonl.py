"""`results.jsonl` and `errors.jsonl`: every line exactly as its worker wrote it, in source order."""

import contextlib
from collections.abc import Iterator

from contract.job import Job
from contract.workspace import Workspace
from producer.results.line_index import Marker, store_index
from producer.results.sinks.base import MergedLine, SinkContext, Write


class JsonLines:
    """The lines that every job writes."""

    kinds = None

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

            def write(merged: MergedLine) -> None:
                (errors if merged.failure else results).write(merged.line + b"\n")
                (error_marks if merged.failure else result_marks).add(len(merged.line) + 1)

            yield write
        for uri, marker in marked.items():
            store_index(workspace, uri, marker.index())

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URIs of both files and their indexes."""
        for uri in (workspace.results, workspace.errors):
            yield from (uri, workspace.line_index(uri))


SINK = JsonLines()
