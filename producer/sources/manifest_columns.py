"""Manifests in columns: Parquet and Arrow files with a column `uri`, read by batches of rows.

Only what reads such manifests imports this module, since pyarrow is an optional package.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from contract.columns import DAMAGED, described, scalar_columns, values
from contract.errors import SourceError, StorageError, StorageUnavailableError
from contract.storage import Storage, answers
from contract.storage.ranged import RangedFile
from producer.sources.manifest_entry import KNOWN, ManifestEntry, NumberedEntry, metadata_of

ROWS = 1_024
"""Maximum rows that are decoded at once."""

BUFFER_BYTES = 1 << 20
"""Bytes of a column that are read at once."""

URI = "uri"

TEXTS = (URI, "id", "label")
"""Columns whose numbers become text."""

ARROW, FEATHER_1 = b"ARROW1", b"FEA1"
"""First bytes of an Arrow file, and of the first version of Feather. A stream of Arrow has none."""


def column_entries(uri: str, location: str, storage: Storage) -> Iterator[NumberedEntry]:
    """Yield the entries of a manifest.

    Args:
        uri: its URI, for messages
        location: the form to open of the URI

    Raises:
        SourceError: the manifest cannot be read, is damaged, has no column `uri`, or a malformed row
    """
    try:
        store = storage.at(location)
        file = RangedFile(store, location, store.size(location))
        number = 0
        for batch in _batches(uri, file, parquet=location.endswith(".parquet")):
            for row in _rows(batch):
                number += 1
                given = {name: value for name, value in row.items() if value is not None}
                yield number, _entry(uri, number, given), metadata_of(given, f"{uri} row {number:,}")
    except DAMAGED as error:
        raise SourceError(f"{uri} is damaged, or of another format than its name says: {error}") from error
    except StorageError as error:
        if isinstance(error, StorageUnavailableError) and not answers(storage.at(location), location):
            raise
        raise SourceError(f"the manifest cannot be read: {error}") from error


def _entry(uri: str, number: int, row: dict[str, Any]) -> ManifestEntry:
    known = {name: row[name] for name in ManifestEntry.__struct_fields__ if name in row}
    for name in TEXTS:
        if isinstance(known.get(name), int | float):
            known[name] = str(known[name])
    if isinstance(known.get("page"), float) and known["page"].is_integer():
        # Whole numbers with gaps, as pandas has them.
        known["page"] = int(known["page"])
    if "region" in known:
        region = known["region"]
        text = region.encode() if isinstance(region, str) else msgspec.json.encode(region)
        known["region"] = msgspec.Raw(text)
    try:
        return msgspec.convert(known, ManifestEntry)
    except msgspec.ValidationError as error:
        raise SourceError(f"{uri} row {number:,}: {error}") from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    for row in zip(*(values(batch, name) for name in names), strict=True):
        yield dict(zip(names, row, strict=True))


def _batches(uri: str, file: RangedFile, *, parquet: bool) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the columns that are read; raises one of DAMAGED."""
    if parquet:
        opened = ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        wanted = _wanted(uri, opened.schema_arrow)
        yield from opened.iter_batches(ROWS, columns=wanted, use_threads=False)
        return
    head = file.read(len(ARROW))
    file.seek(0)
    if head.startswith(FEATHER_1):
        raise SourceError(f"{uri} is of Feather's first version: write it again in the second")
    yield from _arrow_file(uri, file) if head == ARROW else _arrow_stream(uri, file)


def _arrow_file(uri: str, file: RangedFile) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_file(file) as opened:
        wanted = _wanted(uri, opened.schema)
        for number in range(opened.num_record_batches):
            yield from _checked(opened.get_batch(number), wanted)


def _arrow_stream(uri: str, file: RangedFile) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(file) as opened:
        wanted = _wanted(uri, opened.schema)
        for batch in opened:
            yield from _checked(batch, wanted)


def _checked(batch: pa.RecordBatch, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield slices of a batch; Arrow reads its offsets as they are, and they may lead out of its memory."""
    columns = batch.select(wanted)
    columns.validate(full=True)
    yield from (columns.slice(start, ROWS) for start in range(0, columns.num_rows, ROWS))


def _wanted(uri: str, schema: pa.Schema) -> list[str]:
    if schema.get_field_index(URI) < 0:
        raise SourceError(f"{uri} has no column `uri`: it has {described(schema)}")
    known = KNOWN | set(scalar_columns(schema))
    return [name for name in schema.names if name in known]
