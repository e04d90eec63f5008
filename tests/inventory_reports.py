"""S3 Inventory reports as S3 writes them, for tests."""

import gzip
import hashlib
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import orc, parquet

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
TIME = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

Rows = list[dict[str, Any]]


def row(bucket: str, key: str, **others: Any) -> dict[str, Any]:
    """Return the row of an object's newest version, with other values in place of some."""
    plain = {"bucket": bucket, "key": key, "version_id": "v1", "is_latest": True, "is_delete_marker": False}
    of_content = {"size": 3, "last_modified_date": TIME, "e_tag": "abc", "storage_class": "STANDARD"}
    return {**plain, **of_content, **others}


def as_csv(rows: Rows) -> bytes:
    """Return a data file in CSV, whose columns are those of `SCHEMA`."""

    def text(name: str, value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return quote_plus(str(value)) if name == "key" else str("" if value is None else value)

    order = ("bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "last_modified_date")
    lines = (
        ",".join(f'"{text(name, row[name])}"' for name in (*order, "e_tag", "storage_class")) for row in rows
    )
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def as_orc(rows: Rows) -> bytes:
    """Return a data file in ORC."""
    naive = [{**row, "last_modified_date": row["last_modified_date"].replace(tzinfo=None)} for row in rows]
    stream = BytesIO()
    orc.write_table(pa.Table.from_pylist(naive), stream)
    return stream.getvalue()


def as_parquet(rows: Rows) -> bytes:
    """Return a data file in Parquet."""
    stream = BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def report(
    form: str, files: dict[str, bytes], schema: str = SCHEMA, *, source: str = "crops", bucket: str = "bucket"
) -> dict[str, Any]:
    """Return the manifest of a report.

    Args:
        form: "CSV", "ORC" or "Parquet"
        files: the data files by their keys
        source: the bucket that the report lists
        bucket: the bucket that holds the report
    """
    return {
        "sourceBucket": source,
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "version": "2016-11-30",
        "creationTimestamp": "1795222800000",
        "fileFormat": form,
        "fileSchema": schema,
        "files": [
            {"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()}
            for key, data in files.items()
        ],
    }
