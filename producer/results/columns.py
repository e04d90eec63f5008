"""Lines as columns: the Arrow type of a field follows from its own, so that a new field or kind just appears.

Only what writes Parquet imports this module, since pyarrow is an optional package.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import pyarrow as pa
from msgspec import inspect

from contract.kinds.base import Kind
from contract.lines import ErrorLine, WordBox

WORDS = "words"
"""The column of a page's words in reading order, besides the nested fields of its line."""

Values = Sequence[Any]


class Column(Protocol):
    """How values of one Python type become an Arrow array."""

    @property
    def type(self) -> pa.DataType:
        """The array's type."""

    def array(self, values: Values) -> pa.Array:
        """Return the values as an array; None becomes null."""


class Table:
    """Lines of one type as columns.

    Args:
        line: the type of the lines
        words: returns the words of a line, for a column of its own
    """

    def __init__(self, line: type[msgspec.Struct], words: Callable[[Any], Any] | None = None) -> None:
        self._decode = msgspec.json.Decoder(line).decode
        self._words = words
        self._fields = _Structure(inspect.type_info(line))
        self._boxes = column_of(inspect.type_info(tuple[WordBox, ...]))
        extra = [pa.field(WORDS, self._boxes.type)] if words else []
        self.schema = pa.schema([*self._fields.fields, *extra])

    def batch(self, lines: Sequence[bytes]) -> pa.RecordBatch:
        """Return lines as rows; raises one of `contract.lines.UNREADABLE` if a line is damaged."""
        decoded = list(map(self._decode, lines))
        arrays = self._fields.children(decoded)
        if self._words:
            arrays.append(self._boxes.array([tuple(self._words(line)) for line in decoded]))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def table_of(kind: Kind) -> Table:
    """Return the columns of a kind's results."""
    return Table(kind.line, kind.words if kind.reads == "words" else None)


def table_of_errors() -> Table:
    """Return the columns of error lines."""
    return Table(ErrorLine)


def table_of_latest(kind: Kind) -> Table:
    """Return the columns of the newest lines of all nights: of a deleted item only its id and since when."""
    fields = [(one.name, one.type | None, None) for one in msgspec.structs.fields(kind.line)]
    line = msgspec.defstruct("LatestLine", [*fields, ("deleted", str | None, None)])

    def words(found: Any) -> Any:
        return () if found.deleted else kind.words(found)

    return Table(line, words if kind.reads == "words" else None)


def column_of(info: inspect.Type) -> Column:
    """Return the column of a type. What has no type of its own in Arrow, such as a dict, is a JSON text."""
    if isinstance(info, inspect.UnionType):
        possible = [one for one in info.types if not isinstance(one, inspect.NoneType)]
        return column_of(possible[0]) if len(possible) == 1 else _Json()
    if isinstance(info, inspect.StructType):
        return _Structure(info)
    if isinstance(info, inspect.VarTupleType | inspect.ListType):
        return _List(column_of(info.item_type))
    if isinstance(info, inspect.TupleType) and len({type(one) for one in info.item_types}) == 1:
        return _List(column_of(info.item_types[0]))
    types = {
        inspect.StrType: pa.string(),
        inspect.EnumType: pa.string(),
        inspect.FloatType: pa.float64(),
        inspect.IntType: pa.int64(),
        inspect.BoolType: pa.bool_(),
    }
    found = types.get(type(info))
    return _Scalar(found) if found else _Json()


class _Scalar:
    def __init__(self, type_: pa.DataType) -> None:
        self.type = type_

    def array(self, values: Values) -> pa.Array:
        return pa.array(values, self.type)


class _Json:
    """What is no column of its own: the value as JSON."""

    type = pa.string()

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def array(self, values: Values) -> pa.Array:
        texts = ("" if one is None else self._encode(one).decode() for one in values)
        return pa.array([text or None for text in texts], self.type)


class _List:
    def __init__(self, item: Column) -> None:
        self._item = item
        self.type = pa.list_(pa.field("element", item.type))

    def array(self, values: Values) -> pa.Array:
        offsets = pa.array(accumulate((len(one or ()) for one in values), initial=0), pa.int32())
        items = self._item.array(list(chain.from_iterable(one or () for one in values)))
        return pa.ListArray.from_arrays(offsets, items, self.type, mask=_nulls(values))


class _Structure:
    def __init__(self, info: inspect.Type) -> None:
        assert isinstance(info, inspect.StructType)
        self._columns = [(attrgetter(one.name), column_of(one.type)) for one in info.fields]
        self.fields = [
            pa.field(one.encode_name, column.type)
            for one, (_, column) in zip(info.fields, self._columns, strict=True)
        ]
        self.type = pa.struct(self.fields)

    def children(self, values: Values) -> list[pa.Array]:
        """Return an array for each field of structs."""
        return [column.array(list(map(get, values))) for get, column in self._columns]

    def array(self, values: Values) -> pa.Array:
        nulls = _nulls(values)
        if nulls is None:
            children = self.children(values)
        else:
            children = [
                column.array([None if one is None else get(one) for one in values])
                for get, column in self._columns
            ]
        return pa.StructArray.from_arrays(children, fields=self.fields, mask=nulls)


def _nulls(values: Values) -> pa.Array | None:
    """Return which values are None, or None if no value is."""
    return pa.array([one is None for one in values], pa.bool_()) if None in values else None
