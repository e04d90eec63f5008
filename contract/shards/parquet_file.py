"""One Parquet file with images, opened by ranged reads.

Only `contract.shards.parquet` imports this module, since pyarrow is an optional package.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from contract.columns import DAMAGED, metadata_of, values
from contract.errors import ErrorCode, ItemError, SourceError, TraceOcrError
from contract.records import MAX_TEXT, Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error, too_large
from contract.shards.image_columns import ImageColumns, image_candidates, image_columns
from contract.storage.ranged import AHEAD_BYTES, SpannedFile

BUFFER_BYTES = 1 << 20
"""Bytes of a column that pyarrow reads at once, which bounds what it holds of a large row group."""

URI = "uri"
"""The column of a manifest that names files."""

ROWS = 1_024
"""Maximum rows that are decoded at once."""

BATCH_BYTES = 4 << 20
"""Bytes of images that are decoded at once, by the average of their row group."""

MAX_ROWS_PER_BYTE = 10_000
"""Maximum rows per byte of their images as stored: a forged footer of a few bytes claims more."""


class DamagedFileError(TraceOcrError):
    """A file is not Parquet, or its footer is damaged."""


class RowGroup(NamedTuple):
    """The rows of a row group, and its images: the name of their column, and where it is in the file.

    Args:
        leaf: number of the column among those that Parquet stores, which are the fields of structs
        start, length: in bytes, as stored
        row_bytes: mean bytes of an image
    """

    rows: int
    leaf: int
    column: str
    start: int
    length: int
    row_bytes: int


class ParquetImages:
    """The images of a file, and its other columns.

    Raises:
        DamagedFileError: the file is not Parquet, damaged, or encrypted
        StorageError: the file cannot be read
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._stream = SpannedFile(shard.store, shard.uri, shard.version.size)
        self._groups: dict[int, RowGroup] = {}
        try:
            self._file = ParquetFile(
                self._stream, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
            )
            self._schema = self._file.schema_arrow
        except DAMAGED as error:
            raise DamagedFileError(str(error)) from error

    @property
    def is_manifest(self) -> bool:
        """Whether the file has a column `uri` and none that may be of images."""
        return self._schema.get_field_index(URI) >= 0 and not image_candidates(self._schema)

    def entries(self, options: ShardOptions) -> Iterator[Entry]:
        """Yield all rows, in order.

        Raises:
            SourceError: a column is missing, or a row's values are too long
            DamagedFileError: the footer says what is impossible
        """
        columns = image_columns(self._shard.uri, self._schema, options)
        paths = [self._file.schema.column(leaf).path for leaf in range(len(self._file.schema))]
        leaf = paths.index(columns.content)
        first = 0
        for number in range(self._file.num_row_groups):
            group = self._row_group(number, leaf)
            row = 0
            for count, found in self._described(number, group.rows, columns.described):
                for index in range(count):
                    at = () if found is None else (number, row, leaf, group.length)
                    yield self._entry(first + row, at, columns, found or {}, index)
                    row += 1
            first += group.rows

    def expect(self, places: Sequence[tuple[int, ...]]) -> None:
        """Announce what is read next, by the `at` of rows; raises DamagedFileError if it is not there."""
        for number, _, leaf, _ in places:
            if number not in self._groups:
                self._groups[number] = self._row_group(number, leaf)
        spans = (self._groups[number] for number in sorted(self._groups))
        self._stream.expect((group.start, group.start + group.length) for group in spans)

    def contents(self, number: int, members: Sequence[Member], max_bytes: int) -> Iterator[bytes | ItemError]:
        """Yield the images of some rows of one expected row group, whose rows are in order."""
        left = iter(members)
        member = next(left)
        base = 0
        try:
            for images in self._images(number, self._groups[number]):
                while base <= member.at[1] < base + len(images):
                    yield self._content(member, images[member.at[1] - base], max_bytes)
                    following = next(left, None)
                    if following is None:
                        return
                    member = following
                base += len(images)
            what = "is not there: its row group has fewer rows than the file says"
        except DAMAGED as error:
            what = f"is in a row group that is damaged ({error}): write the file again"
        yield member_error(self._shard, member, what)
        yield from (member_error(self._shard, other, what) for other in left)

    def _images(self, number: int, group: RowGroup) -> Iterator[pa.Array]:
        rows = min(max(BATCH_BYTES // max(group.row_bytes, 1), 1), ROWS)
        for batch in self._batches(number, [group.column], rows):
            column = batch.column(0)
            yield column.flatten()[0] if pa.types.is_struct(column.type) else column

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

    def _row_group(self, number: int, leaf: int) -> RowGroup:
        """Return a row group; raises DamagedFileError if there is none, or none that is possible."""
        try:
            whole = self._file.metadata.row_group(number)
            column = whole.column(leaf)
            start, end = _span(column)
        except (*DAMAGED, IndexError) as error:
            raise DamagedFileError(f"row group {number} has no column {leaf} ({error})") from error
        rows, length = whole.num_rows, end - start
        if min(rows, start, length) < 0 or rows > MAX_ROWS_PER_BYTE * max(length, 1):
            raise DamagedFileError(f"row group {number} cannot have {rows:,} rows in {length:,} bytes")
        mean = column.total_uncompressed_size // max(rows, 1)
        return RowGroup(rows, leaf, column.path_in_schema, start, length, mean)

    def _described(
        self, number: int, rows: int, names: list[str]
    ) -> Iterator[tuple[int, dict[str, list[Any]] | None]]:
        """Yield batches of a row group's rows: how many, and their values by column, None if damaged."""
        read = 0
        if names:
            self._expect_others(number, names)
            with contextlib.suppress(*DAMAGED):
                for batch in self._batches(number, names, ROWS):
                    yield batch.num_rows, {name: values(batch, name) for name in names}
                    read += batch.num_rows
        for start in range(read, rows, ROWS):
            yield min(ROWS, rows - start), None if names else {}

    def _expect_others(self, number: int, names: list[str]) -> None:
        """Announce columns of a row group that are read together, if they are small."""
        whole = self._file.metadata.row_group(number)
        columns = map(whole.column, range(whole.num_columns))
        spans = [_span(column) for column in columns if column.path_in_schema in names]
        small = spans and spans[-1][1] - spans[0][0] <= AHEAD_BYTES
        self._stream.expect(spans if small else ())

    def _entry(
        self, number: int, at: tuple[int, ...], columns: ImageColumns, found: dict[str, list[Any]], index: int
    ) -> Entry:
        """Return the entry of the row with a number in the file, and with an index among found values."""
        place = f"{self._shard.uri} row {number:,}"

        def text(column: str | None) -> str | None:
            return _text(place, found[column][index]) if column in found else None

        identity = text(columns.id) or f"{number:09d}"
        member = Member("parquet", text(columns.path) or identity, at, self._shard.tag)
        others = columns.others if found else ()
        metadata = metadata_of(place, others, [found[name][index] for name in others])
        return Entry(identity, member, text(columns.label), metadata)

    def _batches(self, number: int, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        return iter(self._file.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False))


def _span(column: Any) -> tuple[int, int]:
    """Return the first byte of a column of a row group, and the one after its last."""
    start = column.data_page_offset
    if column.has_dictionary_page:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


def _text(place: str, value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    if len(text) > MAX_TEXT:
        raise SourceError(f"{place} has an id, a label or a file name of more than {MAX_TEXT:,} characters")
    return text
