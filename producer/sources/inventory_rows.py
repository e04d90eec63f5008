"""The rows of the data files of an S3 Inventory report: CSV, ORC or Parquet."""

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote_plus

import msgspec

from contract.counting import counted
from contract.errors import SourceError
from contract.extras import require

MAX_ROW_CHARACTERS = 65_536
"""Size limit of one line of CSV: a key has 1,024 bytes at most, each of which takes three characters."""

HASHED_BYTES = 1 << 20
"""Bytes of a data file that are hashed at once."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class DataFile(msgspec.Struct, frozen=True, rename={"md5": "MD5checksum"}):
    """One data file in the destination bucket."""

    key: Name
    md5: str | None = None


class Report(
    msgspec.Struct,
    frozen=True,
    rename={
        "bucket": "sourceBucket",
        "destination": "destinationBucket",
        "format": "fileFormat",
        "schema": "fileSchema",
    },
):
    """The manifest of a report."""

    bucket: Name
    destination: Name
    format: Literal["CSV", "ORC", "Parquet"]
    schema: str
    files: tuple[DataFile, ...]


class Row(NamedTuple):
    """One version of an object; what a report does not tell is None, and then the version is the only one."""

    key: str
    size: int | None = None
    modified: str | None = None
    etag: str | None = None
    latest: bool = True
    deleted: bool = False


FIELDS = {
    "key": "key",
    "size": "size",
    "lastmodifieddate": "modified",
    "etag": "etag",
    "islatest": "latest",
    "isdeletemarker": "deleted",
}
"""Fields of a row by the names of columns, in small letters without `_`: formats spell them in two ways."""


def rows_of(report: Report, file: DataFile, path: Path, uri: str) -> Iterator[Row]:
    """Yield the rows of a data file, in its order.

    Args:
        path: of the file, or of a copy, on this machine
        uri: of the file, for messages

    Raises:
        SourceError: the file is not the one that the report lists, is damaged, or has no column of keys
    """
    _check(file, path, uri)
    if report.format == "CSV":
        yield from _csv_rows(report, path, uri)
        return
    require("pyarrow", "columns", f"inventory reports in {report.format}", SourceError)
    from producer.sources.inventory_columns import column_rows

    yield from column_rows(report.format, path, uri)


def field_of(column: str) -> str | None:
    """Return the field of a row that a column holds; None if none does."""
    return FIELDS.get(column.strip().lower().replace("_", ""))


def _check(file: DataFile, path: Path, uri: str) -> None:
    if file.md5 is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(HASHED_BYTES):
            digest.update(block)
    if digest.hexdigest() != file.md5.lower():
        raise SourceError(f"{uri} is not the file that the report lists: its MD5 checksum is another one")


def _csv_rows(report: Report, path: Path, uri: str) -> Iterator[Row]:
    fields = [field_of(column) for column in report.schema.split(",")]
    if "key" not in fields:
        raise SourceError(f"the report of {uri} has no column Key: its fileSchema is {report.schema[:200]!r}")
    for number, values in enumerate(_csv_values(path, uri), 1):
        if len(values) != len(fields):
            raise SourceError(
                f"{uri} row {number:,} has {counted(len(values), 'column')}, and the report's fileSchema "
                f"{len(fields)}"
            )
        found = {field: value for field, value in zip(fields, values, strict=True) if field and value}
        yield _csv_row(found, uri, number)


def _csv_values(path: Path, uri: str) -> Iterator[list[str]]:
    # csv's own limit, which is the process's, is more than a line may have.
    reader = csv.reader(_lines(path, uri), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise SourceError(f"{uri} row {reader.line_num:,}: {error}") from error


def _csv_row(found: dict[str, str], uri: str, number: int) -> Row:
    try:
        return Row(
            unquote_plus(found.get("key", ""), errors="strict"),
            int(found["size"]) if "size" in found else None,
            found.get("modified"),
            found.get("etag"),
            found.get("latest", "true") == "true",
            found.get("deleted") == "true",
        )
    except ValueError as error:
        raise SourceError(f"{uri} row {number:,}: {error}") from error


def _lines(path: Path, uri: str) -> Iterator[str]:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if packed
            else path.open(encoding="utf-8", newline="") as stream
        ):
            for number in count(1):
                line = stream.readline(MAX_ROW_CHARACTERS)
                if not line:
                    return
                if len(line) == MAX_ROW_CHARACTERS:
                    raise SourceError(
                        f"{uri} row {number:,} is longer than {MAX_ROW_CHARACTERS:,} characters"
                    )
                yield line
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise SourceError(f"{uri} is cut off or damaged: {error}") from error
