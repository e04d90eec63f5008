"""Parquet files of lines, written as a stream: neither the lines nor the file is held in memory."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contract.errors import JobError
from contract.lines import UNREADABLE
from contract.storage import Store
from contract.storage.streams import TranslatedStream
from producer.results.columns import Table

BATCH_LINES = 8192
"""Lines that are decoded at once: a few megabytes of Python objects, which the caches of processors hold."""

BATCH_BYTES = 4 << 20
"""Bytes of lines that are decoded at once, which pages reach first."""

GROUP_LINES = 1 << 17
"""Rows of a row group: as many as readers like to skip or read in one piece."""

GROUP_BYTES = 64 << 20
"""Bytes of lines in a row group, which pages reach first: it is held in memory, in half as many bytes."""

UNIQUE = frozenset({"id", "name", "uri"})
"""Columns whose values hardly repeat: a dictionary of them would be built in vain."""

COMPRESSION = "zstd"


@contextmanager
def parquet_file(
    store: Store, uri: str, table: Table, metadata: Mapping[str, str]
) -> Iterator["ParquetLines"]:
    """Yield what takes lines; the file appears when the block ends, or not at all if it raises.

    Args:
        metadata: of the file, by keys
    """
    with store.writer(uri) as target:
        lines = ParquetLines(uri, target, table, metadata)
        try:
            yield lines
            lines.close()
        except BaseException:
            lines.abandon()
            raise


class ParquetLines:
    """Takes lines in order, and writes them as row groups."""

    def __init__(self, uri: str, target: TranslatedStream, table: Table, metadata: Mapping[str, str]) -> None:
        self._uri, self._table = uri, table
        self._lines: list[bytes] = []
        self._size = self._group_lines = self._group_bytes = 0
        self._batches: list[Any] = []
        self._target = _Target(target)
        self._writer = pq.ParquetWriter(
            self._target,
            table.schema.with_metadata(dict(metadata)),
            compression=COMPRESSION,
            use_dictionary=[path for path in _texts(table.schema) if path not in UNIQUE],
        )

    def add(self, line: bytes) -> None:
        """Add a line without its newline.

        Raises:
            JobError: one of the lines so far is damaged
        """
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BATCH_BYTES or len(self._lines) >= BATCH_LINES:
            self._convert()

    def close(self) -> None:
        """Write what there is, and the file's end."""
        self._convert()
        self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Write nothing more: without this, the library would write the file's end when it is collected."""
        self._target.abandoned = True
        self._writer.close()

    def _convert(self) -> None:
        if not self._lines:
            return
        try:
            batch = self._table.batch(self._lines)
        except UNREADABLE as error:
            raise JobError(
                f"{self._uri} cannot be written, a part is damaged ({error}): delete it and submit the "
                "job again"
            ) from error
        self._batches.append(batch)
        self._group_lines += len(self._lines)
        self._group_bytes += self._size
        self._lines, self._size = [], 0
        if self._group_lines >= GROUP_LINES or self._group_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches), row_group_size=self._group_lines)
            self._batches, self._group_lines, self._group_bytes = [], 0, 0


class _Target(io.RawIOBase):
    """A stream as the library wants one."""

    def __init__(self, target: TranslatedStream) -> None:
        self._stream = target
        self.abandoned = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data) if self.abandoned else self._stream.write(bytes(data))


def _texts(schema: Any) -> Iterator[str]:
    """Yield the path, as Parquet writes it, of each text in the columns."""
    for field in schema:
        yield from _below(field, field.name)


def _below(field: Any, path: str) -> Iterator[str]:
    kind = field.type
    if pa.types.is_struct(kind):
        for child in kind:
            yield from _below(child, f"{path}.{child.name}")
    elif pa.types.is_list(kind):
        yield from _below(kind.value_field, f"{path}.list.element")
    elif pa.types.is_string(kind):
        yield path
