"""One Parquet file with images, opened by ranged reads.

Only `contract.shards.parquet` imports this module, since pyarrow is an optional package. What pyarrow says of
single columns of row groups is not asked for: a damaged footer then ends the process.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from contract.columns import DAMAGED, metadata_of, values
from contract.counting import counted
from contract.errors import ErrorCode, ItemError, SourceError, TraceOcrError
from contract.records import MAX_TEXT, Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error, too_large
from contract.shards.image_columns import ImageColumns, image_candidates, image_columns
from contract.storage.ranged import RangedFile

WHOLE_BYTES = 8 << 20
"""Bytes of row groups, without compression, that are read by one request and held; more is read in pieces."""

PIECE_BYTES = 8 << 20
"""Bytes of a column that are read at once of a large row group."""

WHOLE_ROWS = 65_536
"""Rows of a row group whose columns without images are read by one request."""

URI = "uri"
"""The column of a manifest that names files."""

ROWS = 1_024
"""Maximum rows that are decoded at once."""

BATCH_BYTES = 4 << 20
"""Bytes of rows that are decoded at once, by the average of their row groups."""

MAX_ROWS_PER_BYTE = 1_000
"""Maximum rows per byte of the file: a forged footer of a few bytes claims more."""


class DamagedFileError(TraceOcrError):
    """A file is not Parquet, or its footer is damaged."""


class RowGroup(NamedTuple):
    """The rows of a row group, and the bytes of all its columns without compression."""

    rows: int
    size: int


class ParquetImages:
    """The images of a file, and its other columns.

    Raises:
        DamagedFileError: the file is not Parquet, damaged, or encrypted
        StorageError: the file cannot be read
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        try:
            self._whole = self._opened(pre_buffer=True)
            self._schema = self._whole.schema_arrow
            leaves = self._whole.schema
            self._leaves = [leaves.column(leaf).path for leaf in range(len(leaves))]
            groups = map(self._whole.metadata.row_group, range(self._whole.num_row_groups))
            self._groups = [RowGroup(group.num_rows, group.total_byte_size) for group in groups]
        except DAMAGED as error:
            raise DamagedFileError(str(error)) from error
        if any(min(group) < 0 for group in self._groups):
            raise DamagedFileError("a row group has less than no rows")
        rows = sum(group.rows for group in self._groups)
        if rows > MAX_ROWS_PER_BYTE * shard.version.size:
            raise DamagedFileError(f"{shard.version.size:,} bytes cannot hold {counted(rows, 'row')}")

    @property
    def is_manifest(self) -> bool:
        """Whether the file has a column `uri` and none that may be of images."""
        return self._schema.get_field_index(URI) >= 0 and not image_candidates(self._schema)

    def entries(self, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield all rows, in order.

        Raises:
            SourceError: a column is missing, or an id or a label is too long
            DamagedFileError: the footer says what is impossible
        """
        columns = image_columns(self._shard.uri, self._schema, options)
        if columns.content not in self._leaves:
            raise DamagedFileError(f"the column {columns.content} is not stored")
        leaf = self._leaves.index(columns.content)
        first = 0
        for number, group in enumerate(self._groups):
            row = 0
            for count, found in self._described(number, group.rows, columns.described):
                for index in range(count):
                    at = () if found is None else (number, row, leaf, group.size)
                    entry = self._entry(first + row, at, columns, found or {}, index)
                    metadata = self._metadata(columns, found or {}, index, passed_over)
                    yield msgspec.structs.replace(entry, metadata=metadata) if metadata else entry
                    row += 1
            first += group.rows

    def contents(self, members: Sequence[Member], max_bytes: int) -> Iterator[bytes | ItemError]:
        """Yield the images of rows, which are in order, of one column.

        Row groups are read together as far as they are small; if one is damaged, each by itself.
        """
        numbers = dict.fromkeys(member.at[0] for member in members)
        if not all(map(self._has_group, members)):
            yield from (member_error(self._shard, member, "is not there") for member in members)
            return
        read = 0
        try:
            for image in self._images(list(numbers), members):
                yield self._content(members[read], image, max_bytes)
                read += 1
            what = "is not there: its row group has fewer rows"
        except DAMAGED as error:
            what = f"is in a row group that is damaged ({error}): write the file again"
        left = members[read:]
        if len(numbers) > 1:
            for _, rows in groupby(left, key=lambda member: member.at[0]):
                yield from self.contents(list(rows), max_bytes)
        else:
            yield from (member_error(self._shard, member, what) for member in left)

    def _has_group(self, member: Member) -> bool:
        number, _, leaf, _ = member.at
        return number < len(self._groups) and leaf < len(self._leaves)

    def _images(self, numbers: list[int], members: Sequence[Member]) -> Iterator[pa.Scalar]:
        """Yield the images of rows of some row groups; ends before the first that is not there."""
        column = self._leaves[members[0].at[2]]
        firsts, rows = {}, 0
        for number in numbers:
            firsts[number] = rows
            rows += self._groups[number].rows
        size = sum(self._groups[number].size for number in numbers)
        file = self._whole if size <= WHOLE_BYTES else self._pieces
        at_once = min(max(BATCH_BYTES * rows // max(size, 1), 1), ROWS)
        base, images = 0, pa.array([])
        batches = self._batches(file, numbers, [column], at_once)
        for member in members:
            number, row, _, _ = member.at
            wanted = firsts[number] + row
            while row < self._groups[number].rows and wanted >= base + len(images):
                base += len(images)
                batch = next(batches, None)
                if batch is None:
                    return
                images = _image_column(batch)
            if not (row < self._groups[number].rows and wanted >= base):
                return
            yield images[wanted - base]

    def _content(self, member: Member, image: pa.Scalar, max_bytes: int) -> bytes | ItemError:
        if not image.is_valid:
            return ItemError(
                ErrorCode.NOT_FOUND,
                f"{member.name} in {self._shard.uri} has no image, only a null: a file that is named in its "
                "place is not read; store its bytes in the column",
            )
        buffer = image.as_buffer()
        if buffer.size > max_bytes:
            return too_large(self._shard, member, max_bytes)
        content: bytes = buffer.to_pybytes()
        return content

    def _described(
        self, number: int, rows: int, names: list[str]
    ) -> Iterator[tuple[int, dict[str, list[Any]] | None]]:
        """Yield batches of a row group's rows: how many, and their values by column, None if damaged."""
        read = 0
        if names:
            file = self._whole if rows <= WHOLE_ROWS else self._pieces
            with contextlib.suppress(*DAMAGED):
                for batch in self._batches(file, [number], names, ROWS):
                    yield batch.num_rows, {name: values(batch, name) for name in names}
                    read += batch.num_rows
        for start in range(read, rows, ROWS):
            yield min(ROWS, rows - start), None if names else {}

    def _entry(
        self, number: int, at: tuple[int, ...], columns: ImageColumns, found: dict[str, list[Any]], index: int
    ) -> Entry:
        """Return the entry of the row with a number in the file, and with an index among found values."""
        place = f"{self._shard.uri} row {number:,}"

        def text(column: str | None) -> str | None:
            return _text(place, found[column][index]) if column in found else None

        identity = text(columns.id) or f"{number:09d}"
        member = Member("parquet", text(columns.path) or identity, at, self._shard.tag)
        return Entry(identity, member, text(columns.label))

    def _metadata(
        self, columns: ImageColumns, found: dict[str, list[Any]], index: int, passed_over: Counter[str]
    ) -> msgspec.Raw | None:
        """Return the values of a row's further columns; None if there are none, or they are too large."""
        if not found or not columns.others:
            return None
        try:
            return metadata_of("", columns.others, [found[name][index] for name in columns.others])
        except SourceError:
            passed_over["unreadable_metadata"] += 1
            return None

    @cached_property
    def _pieces(self) -> ParquetFile:
        return self._opened(metadata=self._whole.metadata, pre_buffer=False, buffer_size=PIECE_BYTES)

    def _opened(self, **options: Any) -> ParquetFile:
        file = RangedFile(self._shard.store, self._shard.uri, self._shard.version.size)
        return ParquetFile(file, page_checksum_verification=True, **options)

    def _batches(
        self, file: ParquetFile, numbers: list[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        return iter(file.iter_batches(rows, row_groups=numbers, columns=columns, use_threads=False))


def _image_column(batch: pa.RecordBatch) -> pa.Array:
    column = batch.column(0)
    return column.flatten()[0] if pa.types.is_struct(column.type) else column


def _text(place: str, value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    if len(text) > MAX_TEXT:
        raise SourceError(f"{place} has an id, a label or a file name of more than {MAX_TEXT:,} characters")
    return text
