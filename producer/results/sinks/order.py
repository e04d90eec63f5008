"""`results.order.bin`: what finds results by their confidence; `producer.results.order` describes it."""

import contextlib
from collections.abc import Iterator

from contract.job import Job
from contract.workspace import Workspace
from producer.results.order_writer import OrderWriter
from producer.results.sinks.base import MergedLine, SinkContext, Write


class ByConfidence:
    """Writes where each result is, in the order of their confidence."""

    kinds = None

    def check(self, job: Job) -> None:
        """Accept every job."""

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that collects the lines of a planned chunk, and adds them when it is whole."""
        workspace, size = context.workspace, context.job.chunk_size
        chunk = list[MergedLine]()
        with workspace.store.writer(workspace.order) as target:
            writer = OrderWriter(target, size)

            def write(merged: MergedLine) -> None:
                chunk.append(merged)
                if len(chunk) == size:
                    _add(writer, chunk)

            yield write
            _add(writer, chunk)
            writer.close()

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URI of the file."""
        yield workspace.order


SINK = ByConfidence()


def _add(writer: OrderWriter, chunk: list[MergedLine]) -> None:
    if not chunk:
        return
    read = [one for one in chunk if one.failure is None]
    failed = [index for index, one in enumerate(chunk) if one.failure] if len(read) < len(chunk) else []
    lost = sum(len(chunk[index].line) + 1 for index in failed)
    sizes, confidences = [len(one.line) + 1 for one in read], [one.confidence for one in read]
    writer.add(sizes, confidences, failed, lost)
    chunk.clear()
