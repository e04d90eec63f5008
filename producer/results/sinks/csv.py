"""`results.csv` and `errors.csv`: the lines of crops as tables, in source order."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import msgspec

from contract.errors import JobError
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import UNREADABLE, ErrorLine
from contract.storage.streams import TranslatedStream
from contract.workspace import Workspace
from producer.results.cells import cell
from producer.results.sinks.base import Lines, MergedLine, SinkContext, Write

FLUSHED = 2048
"""Lines that are written at once."""


class Csv:
    """Writes the results and the errors as tables: RFC 4180, UTF-8, a header, safe to open in a spreadsheet.

    A field that is no text or number is JSON; the fields of an object are columns of their own.
    """

    kinds = frozenset(name for name, kind in KINDS.items() if kind.unit == "crop")
    media_types = ("text/csv",)

    def check(self, job: Job) -> None:
        """Accept every job of crops."""

    @contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that adds a row to the results or to the errors."""
        job, workspace, store = context.job, context.workspace, context.workspace.store
        (results_uri,), (errors_uri,) = (self.files(job, workspace, name) for name in ("results", "errors"))
        with store.writer(results_uri) as results, store.writer(errors_uri) as errors:
            read = _Rows(results_uri, results, KINDS[job.kind].line)
            failed = _Rows(errors_uri, errors, ErrorLine)

            def write(merged: MergedLine) -> None:
                (failed if merged.failure else read).add(merged.line)

            yield write
            read.flush()
            failed.flush()

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URIs of both files."""
        yield from self.files(job, workspace, "results")
        yield from self.files(job, workspace, "errors")

    def files(self, job: Job, workspace: Workspace, lines: Lines) -> list[str]:  # noqa: ARG002 - of the interface
        """Return the URI of the file of results or of errors."""
        return [workspace.path(f"{lines}.csv")]


SINK = Csv()


class _Rows:
    """Lines on their way into a table."""

    def __init__(self, uri: str, target: TranslatedStream, line: type[msgspec.Struct]) -> None:
        self._uri, self._target = uri, target
        self._decode = msgspec.json.Decoder(line).decode
        self._text = io.StringIO()
        self._writer = csv.writer(self._text)
        self._lines: list[bytes] = []
        columns = list(_columns(msgspec.inspect.type_info(line), ""))
        self._names, self._values = zip(*columns, strict=True)
        self._writer.writerow(self._names)

    def add(self, line: bytes) -> None:
        """Add a line without its newline; raises JobError if one of the lines so far is damaged."""
        self._lines.append(line)
        if len(self._lines) >= FLUSHED:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        try:
            decoded = list(map(self._decode, self._lines))
        except UNREADABLE as error:
            raise JobError(
                f"{self._uri} cannot be written, a part is damaged ({error}): delete it and submit the "
                "job again"
            ) from error
        self._writer.writerows([[_cell(value(line)) for value in self._values] for line in decoded])
        self._target.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()
        self._lines = []


def _columns(info: Any, prefix: str) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield the name of each column, and what gets its value of a line."""
    for field in info.fields:
        name = f"{prefix}{field.name}"
        if isinstance(field.type, msgspec.inspect.StructType):
            yield from _columns(field.type, f"{name}.")
        else:
            yield name, attrgetter(name)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return cell(value)
    if value is None or isinstance(value, int | float):
        return value
    return msgspec.json.encode(value).decode()
