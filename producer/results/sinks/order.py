"""`results.order.bin`: what finds results by their confidence; `producer.results.order` describes it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.workspace import Workspace
from producer.results.order import OrderWriter
from producer.results.sinks.base import MergedLine, SinkContext, Write

Rate = Callable[[list[bytes]], list[float | None]]


class _Rated(msgspec.Struct, gc=False):
    """The one field of a crop's line that is needed here."""

    confidence: float | None = None


class ByConfidence:
    """Writes where each result is, in the order of their confidence."""

    kinds = None

    def check(self, job: Job) -> None:
        """Accept every job."""

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that collects the lines of a planned chunk, and adds them when it is whole."""
        workspace, size = context.workspace, context.job.chunk_size
        rated, chunk = rating(KINDS[context.job.kind]), list[MergedLine]()
        with workspace.store.writer(workspace.order) as target:
            writer = OrderWriter(target, size)

            def write(merged: MergedLine) -> None:
                chunk.append(merged)
                if len(chunk) == size:
                    _add(writer, chunk, rated)

            yield write
            _add(writer, chunk, rated)
            writer.close()

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URI of the file."""
        yield workspace.order


SINK = ByConfidence()


def _add(writer: OrderWriter, chunk: list[MergedLine], rated: Rate) -> None:
    if not chunk:
        return
    read = [one.line for one in chunk if one.failure is None]
    failed = [index for index, one in enumerate(chunk) if one.failure] if len(read) < len(chunk) else []
    lost = sum(len(chunk[index].line) + 1 for index in failed)
    writer.add([len(line) + 1 for line in read], rated(read), failed, lost)
    chunk.clear()


def rating(kind: Kind) -> Rate:
    """Return a function from results' lines to their confidences: of a page, its least certain word's."""
    if kind.reads == "value":
        crops = msgspec.json.Decoder(_Rated)
        return lambda lines: [one.confidence for one in map(crops.decode, lines)]
    whole: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind.line)
    return lambda lines: [kind.certainty(line) for line in map(whole.decode, lines)]
