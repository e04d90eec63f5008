"""Parquet files with a column of images: as bytes, or as Hugging Face's datasets store them.

A row group is what is read as a whole. An item's `at` is (row group, row in it, column of the images, bytes
of the row group); it is empty if the row's other columns could not be read by the planner.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from contract.errors import ItemError, JobError, SourceError
from contract.extras import require
from contract.records import Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error

GROUP_BYTES = 8 << 20
"""Bytes of row groups that are read together; a larger one is read by itself."""


class Parquet:
    """A `contract.shards.ShardFormat`."""

    extensions = (".parquet", ".pq")

    def entries(self, shard: Shard, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the rows as images, in order; reads all columns but that of the images.

        Rows are counted from 0 through the whole file. Whether a row has an image shows when it is read.
        Metadata that is too large is passed over.
        """
        require("pyarrow", "columns", "Parquet shards", SourceError)
        from contract.shards.parquet_file import DamagedFileError, ParquetImages

        try:
            yield from ParquetImages(shard).entries(options, passed_over)
        except DamagedFileError as error:
            raise damaged(shard, error) from error

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield the members by row groups; small ones side by side together."""
        found: list[Member] = []
        held = 0
        for number, rows in groupby(members, key=_row_group):
            together = list(rows)
            length = 0 if number is None else together[0].at[-1]
            if found and held + length > GROUP_BYTES:
                yield found
                found, held = [], 0
            found += together
            held += length
        if found:
            yield found

    def size(self, _member: Member) -> int:
        """Return 0: only reading a row tells how long its image is."""
        return 0

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the images of rows. A large row group is decoded from its start to the last of its rows.

        Raises:
            JobError: pyarrow is not installed
        """
        require("pyarrow", "columns", "Parquet shards", JobError)
        from contract.shards.parquet_file import DamagedFileError, ParquetImages

        try:
            images = ParquetImages(shard)
        except DamagedFileError as error:
            yield from (member_error(shard, member, f"cannot be read: {error}") for member in members)
            return
        for lost, some in groupby(members, key=lambda member: not member.at):
            if lost:
                what = "is in a row group whose other columns cannot be read: write the file again"
                yield from (member_error(shard, member, what) for member in some)
            else:
                yield from images.contents(list(some), max_bytes)


FORMAT = Parquet()


def is_manifest(shard: Shard) -> bool:
    """Return whether a file lists images, with a column `uri` and none of images, in place of holding them.

    Raises:
        SourceError: pyarrow is not installed, or the file is damaged
        StorageError: the file cannot be read
    """
    require("pyarrow", "columns", "Parquet files", SourceError)
    from contract.shards.parquet_file import DamagedFileError, ParquetImages

    try:
        return ParquetImages(shard).is_manifest
    except DamagedFileError as error:
        raise damaged(shard, error) from error


def damaged(shard: Shard, error: Exception) -> SourceError:
    """Return the error of a file that is damaged as a whole."""
    return SourceError(f"{shard.uri} is no Parquet file, or damaged: {error}")


def _row_group(member: Member) -> int | None:
    return member.at[0] if member.at else None
