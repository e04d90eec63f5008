"""A template's job as forms: a JSON line and a row of a table for each page, and a column for each region."""

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from contract.errors import ErrorCode
from contract.job import Job
from contract.lines import RecognitionLine
from contract.records import Item
from contract.region import region_id
from contract.storage.streams import TranslatedStream
from contract.workspace import Workspace
from producer.results.cells import cell
from producer.results.line_index import Marker, store_index
from producer.results.sinks.base import MergedLine, SinkContext, Write
from producer.results.sinks.parquet import PARQUET, Opener, opener


class FormLine(msgspec.Struct):
    """One page: by the regions' names, what was read, with which confidence, and why there is nothing."""

    id: str
    values: dict[str, str] = {}
    confidences: dict[str, float] = {}
    errors: dict[str, ErrorCode] = {}


class Forms:
    """Writes `exports/forms.jsonl` and `.csv`, and `.parquet` if the job wants Parquet."""

    kinds = frozenset({"recognition"})

    def check(self, job: Job) -> None:
        """Accept every job with a template."""

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that adds a region to its page."""
        lines, table, _, *columns = self.paths(context.job, context.workspace)
        opened = opener(context.job, context.workspace.store) if columns else None
        store = context.workspace.store
        with store.writer(lines) as target, store.writer(table) as rows, tempfile.TemporaryFile() as spool:
            forms = _Pages(context, target, spool)
            yield forms.add
            forms.end()
            _write_table(spool, forms.names, rows)
            if opened:
                _write_columns(spool, tuple(forms.names), columns[0], opened)
        store_index(context.workspace, lines, forms.marker.index())

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URIs of the files."""
        lines = workspace.path("exports", "forms.jsonl")
        yield from (lines, workspace.path("exports", "forms.csv"), workspace.line_index(lines))
        if PARQUET in job.exports:
            yield workspace.path("exports", "forms.parquet")


SINK = Forms()


class _Pages:
    """Joins the lines of each page; `names` are those of the regions, in the order of the template."""

    def __init__(self, context: SinkContext, target: TranslatedStream, spool: IO[bytes]) -> None:
        self._context, self._target, self._spool = context, target, spool
        self._results = msgspec.json.Decoder(RecognitionLine)
        self._page: FormLine | None = None
        self.marker = Marker()
        self.names: dict[str, None] = {}

    def add(self, merged: MergedLine) -> None:
        """Add a region's line."""
        item = self._context.item(merged)
        name = (item.region and item.region.name) or ""
        self.names[name] = None
        page = self._page_of(item, name)
        if merged.failure:
            page.errors[name] = merged.failure.code
        else:
            result = self._results.decode(merged.line)
            page.values[name], page.confidences[name] = result.value, result.confidence

    def end(self) -> None:
        """Write the last page."""
        if self._page:
            line = msgspec.json.encode(self._page) + b"\n"
            self._target.write(line)
            self.marker.add(len(line))
            self._context.totals.counts["forms"] += 1
            # The table's columns are known at its end: a sample may lack regions of the first page.
            self._spool.write(line)

    def _page_of(self, item: Item, name: str) -> FormLine:
        identity = item.id[: -len(region_id("", name))]
        if self._page is None or self._page.id != identity:
            self.end()
            self._page = FormLine(identity)
        return self._page


def _write_table(spool: IO[bytes], names: dict[str, None], target: TranslatedStream) -> None:
    """Write the table: of each page its id, values, lowest confidence, and errors."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *map(cell, names), "confidence", "errors"])
    spool.seek(0)
    for line in spool:
        page = msgspec.json.decode(line, type=FormLine)
        lowest = f"{min(page.confidences.values()):.4f}" if page.confidences else ""
        values = (cell(page.values.get(name, "")) for name in names)
        writer.writerow([cell(page.id), *values, lowest, _shown(page.errors, len(names))])
        target.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    target.write(text.getvalue().encode())


def _write_columns(spool: IO[bytes], names: tuple[str, ...], uri: str, opened: Opener) -> None:
    """Write the columns: of each page its id, a text for each region, and their confidences and errors."""
    # Here: it needs pyarrow, which only jobs that want Parquet do.
    from producer.results.form_columns import FormTable

    spool.seek(0)
    with opened(uri, FormTable(names)) as rows:
        for line in spool:
            rows.add(line)


def _shown(errors: dict[str, ErrorCode], names: int) -> str:
    """Return the errors as a cell: one code if all regions have it, as those of a page that is missing."""
    codes = set(errors.values())
    if len(codes) == 1 and len(errors) == names:
        return next(iter(codes))
    return "; ".join(f"{name}: {code}" for name, code in errors.items())
