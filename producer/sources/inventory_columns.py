"""The rows of the data files of S3 Inventory reports in ORC and Parquet.

Only what reads such reports imports this module, since pyarrow is an optional package.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import orc
from pyarrow.parquet import ParquetFile

from contract.columns import DAMAGED, described, values
from contract.errors import SourceError
from producer.sources.inventory_rows import Row, field_of

ROWS = 8_192
"""Rows of Parquet that become Python objects at once."""


def column_rows(form: str, path: Path, uri: str) -> Iterator[Row]:
    """Yield the rows of a data file; raises SourceError if it is damaged, or has no column of keys."""
    try:
        with path.open("rb") as file:
            for batch in _orc(file, uri) if form == "ORC" else _parquet(file, uri):
                names = [str(field_of(name)) for name in batch.schema.names]
                for row in zip(*(values(batch, name) for name in batch.schema.names), strict=True):
                    yield _row(dict(zip(names, row, strict=True)))
    except DAMAGED as error:
        raise SourceError(f"{uri} is damaged, or of another format than the report says: {error}") from error


def _row(found: dict[str, Any]) -> Row:
    """Return a row; a column that is null tells nothing."""
    told = {field: value for field, value in found.items() if value is not None}
    return Row(**{"key": "", **told})


def _parquet(file: Any, uri: str) -> Iterator[pa.RecordBatch]:
    opened = ParquetFile(file)
    for batch in opened.iter_batches(ROWS, columns=_wanted(opened.schema_arrow, uri), use_threads=False):
        yield _as_text(batch)


def _orc(file: Any, uri: str) -> Iterator[pa.RecordBatch]:
    opened = orc.ORCFile(file)
    wanted = _wanted(opened.schema, uri)
    for stripe in range(opened.nstripes):
        batch = opened.read_stripe(stripe, columns=wanted)
        yield from (_as_text(batch.slice(start, ROWS)) for start in range(0, batch.num_rows, ROWS))


def _wanted(schema: pa.Schema, uri: str) -> list[str]:
    names = [name for name in schema.names if field_of(name)]
    if not any(field_of(name) == "key" for name in names):
        raise SourceError(f"{uri} has no column `key`: it has {described(schema)}")
    return names


def _as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with bytes as text: some writers mark no column as such."""
    columns = [
        column.cast(pa.string()) if pa.types.is_binary(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
