"""The columns of Parquet and Arrow files, and their values as text and JSON.

Only what reads such files imports this module, since pyarrow is an optional package.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import types

from contract.metadata import encoded_metadata

DAMAGED = (pa.ArrowException, OSError, ValueError, IndexError, OverflowError, MemoryError)
"""What pyarrow raises for damaged files; errors of storage are none of these."""


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a type is bytes of any length."""
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text."""
    return bool(types.is_string(kind) or types.is_large_string(kind))


def unpacked(kind: pa.DataType) -> pa.DataType:
    """Return the type of a dictionary's values; any other type itself."""
    return kind.value_type if types.is_dictionary(kind) else kind


_SCALARS = (
    is_text,
    types.is_boolean,
    types.is_integer,
    types.is_floating,
    types.is_decimal,
    types.is_date,
    types.is_time,
    types.is_timestamp,
)


def scalar_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of text, numbers, booleans and times, whose values are JSON."""
    return [field.name for field in schema if any(check(unpacked(field.type)) for check in _SCALARS)]


def column_type(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Return the type of a column, or of a struct's field as `column.field`; None if there is none."""
    if schema.get_field_index(name) >= 0:
        return schema.field(name).type
    column, _, field = name.partition(".")
    if schema.get_field_index(column) < 0:
        return None
    kind = schema.field(column).type
    return kind.field(field).type if types.is_struct(kind) and kind.get_field_index(field) >= 0 else None


def described(schema: pa.Schema, most: int = 30) -> str:
    """Return the names and types of the columns, for messages."""
    shown = ", ".join(f"{field.name} ({field.type})"[:100] for field in list(schema)[:most])
    return shown + (f" and {len(schema) - most:,} more" if len(schema) > most else "")


def values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """Return a scalar column of a batch, or a struct's field, as values of JSON; raises one of DAMAGED."""
    if batch.schema.get_field_index(name) >= 0:
        return _plain(batch.column(name))
    column, _, field = name.partition(".")
    return [None if row is None else row.get(field) for row in batch.column(column).to_pylist()]


def _plain(column: pa.Array) -> list[Any]:
    kind = unpacked(column.type)
    if types.is_timestamp(kind):
        # Formatted by Arrow: Python's datetimes have neither nanoseconds nor the year 10,000.
        texts = _texts(column.cast(kind).cast(pa.timestamp(kind.unit)))
        zone = "Z" if kind.tz else ""
        return [text and text.replace(" ", "T") + zone for text in texts]
    if types.is_date(kind) or types.is_time(kind) or types.is_decimal(kind):
        return _texts(column.cast(kind))
    if types.is_floating(kind):
        return list(column.cast(pa.float64()).to_pylist())
    return list(column.to_pylist())


def _texts(column: pa.Array) -> list[str | None]:
    return list(column.cast(pa.string()).to_pylist())


def metadata_of(place: str, names: Sequence[str], row: Sequence[Any]) -> msgspec.Raw | None:
    """Return the values of a row that are not null as a JSON object; None if there are none.

    Raises:
        SourceError: as `encoded_metadata`
    """
    found = {name: value for name, value in zip(names, row, strict=True) if value is not None}
    return encoded_metadata(place, found)
