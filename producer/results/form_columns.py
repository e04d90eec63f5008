"""Forms as columns: a text for each region of a template, and their confidences and errors.

As `columns`, this module is only imported by what writes Parquet.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from producer.results.columns import Table

OWN = ("id", "confidences", "errors")
"""Columns besides those of regions; a region of such a name has an underscore after it."""


class FormTable:
    """The columns of forms.

    Args:
        names: of the regions, in order
    """

    def __init__(self, names: Sequence[str]) -> None:
        shapes = {"values": str | None, "confidences": float | None, "errors": str | None} if names else {}
        fields = [(shape, _by_region(shape, names, kind)) for shape, kind in shapes.items()]
        self._table = Table(msgspec.defstruct("Form", [("id", str), *fields]))
        self._names = [f"{name}_" if name in OWN else name for name in names]
        given = {field.name: field.type for field in self._table.schema}
        columns = [("id", given["id"]), *((name, pa.string()) for name in self._names)]
        self.schema = pa.schema([*columns, *((name, given[name]) for name in OWN[1:] if name in given)])

    def batch(self, lines: Sequence[bytes]) -> pa.RecordBatch:
        """Return lines of forms as rows; raises as `Table.batch`."""
        batch = self._table.batch(lines)
        regions: list[Any] = batch["values"].flatten() if self._names else []
        rest = [batch[name] for name in OWN[1:]] if self._names else []
        return pa.RecordBatch.from_arrays([batch["id"], *regions, *rest], schema=self.schema)


def _by_region(shape: str, names: Sequence[str], kind: Any) -> type[msgspec.Struct]:
    """Return a struct with an optional field for each region."""
    # Names of regions need not be names of Python.
    renamed = {f"region_{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct(shape.title(), [(name, kind, None) for name in renamed], rename=renamed)
