"""`results.jsonl` and `errors.jsonl`: every line exactly as its worker wrote it, in source order."""

import contextlib
from collections.abc import Iterator

from contract.job import Job
from contract.workspace import Workspace
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
        with (
            workspace.store.writer(workspace.results) as results,
            workspace.store.writer(workspace.errors) as errors,
        ):

            def write(merged: MergedLine) -> None:
                (errors if merged.failure else results).write(merged.line + b"\n")

            yield write

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URIs of both files."""
        yield from (workspace.results, workspace.errors)


SINK = JsonLines()
