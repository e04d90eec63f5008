"""The listing of a bucket that S3 writes itself: an S3 Inventory report, by its `manifest.json`."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contract.errors import OutsideAllowedRootsError, SourceError, StorageError, StorageUnavailableError
from contract.lines import UNREADABLE
from contract.records import MAX_TEXT, Item
from contract.source import Source
from contract.storage import Version, answers, is_remote, join
from contract.storage.failures import failing_as
from producer.sources.base import SourceContext, has_extension
from producer.sources.fingerprints import fingerprint_of
from producer.sources.inventory_rows import DataFile, Report, Row, rows_of

NAME = "manifest.json"
"""The name that S3 gives the manifest of each report."""

MAX_MANIFEST_BYTES = 64 << 20
"""Size limit of a manifest in bytes: 10^10 objects are some 10,000 data files, of 200 bytes each."""


class Inventory:
    """The newest versions of the objects of a bucket, in the report's order; ids are keys."""

    named = f"an S3 Inventory report ({NAME})"

    def match(self, text: str) -> Source | None:
        """Return the report whose manifest the text names; a local one is recognised by its content too."""
        if text.rpartition("/")[2] != NAME:
            return None
        if is_remote(text):
            return Source(type="inventory", uri=text, confined=False)
        path = Path(os.path.realpath(text))
        if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        try:
            decode_report(path.read_bytes(), str(path))
        except SourceError:
            return None
        return Source(type="inventory", uri=str(path), confined=False)

    def root(self, uri: str) -> str:
        """Return the report's folder, which holds those of all its manifests, and of its data files."""
        folder = uri.rpartition("/")[0]
        above = folder.rpartition("/")[0]
        return folder if is_remote(uri) and above.endswith("/") else above or "/"

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the images in the report's order, which is not that of keys."""
        location = context.locate(uri)
        with failing_as(SourceError, "the inventory report cannot be read"):
            data = context.storage.at(location).read(location, MAX_MANIFEST_BYTES)
        report = decode_report(data, uri)
        for file in report.files:
            for row in _rows(report, file, location, context):
                reason = _reason_to_pass_over(row, context)
                if reason:
                    context.passed_over[reason] += 1
                else:
                    yield _item(report, row, context)


SOURCE = Inventory()


def decode_report(data: bytes, uri: str) -> Report:
    """Return the report that a manifest describes.

    Raises:
        SourceError: it is not the manifest of a report, or lists a data file twice
    """
    try:
        report = msgspec.json.decode(data, type=Report)
    except UNREADABLE as error:
        raise SourceError(f"{uri} is not the manifest of an S3 Inventory report: {error}") from error
    if len({file.key for file in report.files}) < len(report.files):
        raise SourceError(f"{uri} lists a data file twice, so that ids would repeat: name each file once")
    return report


def _rows(report: Report, file: DataFile, manifest: str, context: SourceContext) -> Iterator[Row]:
    uri = _location(report, file, manifest)
    try:
        location = context.roots.resolved(uri) if context.roots else uri
        store = context.storage.at(location)
        with store.local_copy(location) as path:
            yield from rows_of(report, file, path, uri)
    except OutsideAllowedRootsError as error:
        raise SourceError(f"the report's data file {uri} may not be read: {error}") from error
    except StorageError as error:
        if isinstance(error, StorageUnavailableError) and not answers(context.storage.at(uri), uri):
            raise
        raise SourceError(f"the report's data file {uri} cannot be read: {error}") from error


def _location(report: Report, file: DataFile, manifest: str) -> str:
    """Return where a data file is: for a local manifest, in the folder `data` beside its own, as on S3."""
    bucket = report.destination.rpartition(":::")[2]
    if is_remote(manifest):
        return f"s3://{bucket}/{file.key}"
    folder = Path(manifest).parent
    name = file.key.rpartition("/")[2]
    near = next((place for place in (folder.parent / "data" / name, folder / name) if place.is_file()), None)
    return str(near) if near else f"s3://{bucket}/{file.key}"


def _reason_to_pass_over(row: Row, context: SourceContext) -> str | None:
    if row.deleted:
        return "deleted"
    if not row.latest:
        return "older_version"
    if not row.key or row.key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in row.key.split("/")):
        return "hidden"
    if not has_extension(row.key, context.extensions):
        return "other_extension"
    return "name_too_long" if len(row.key) > MAX_TEXT else None


def _item(report: Report, row: Row, context: SourceContext) -> Item:
    fingerprint = None
    if context.changed and row.size is not None:
        modified = _nanoseconds(row.modified)
        if modified is not None:
            fingerprint = fingerprint_of(Version(row.size, modified, row.etag), context.changed)
    return Item(id=row.key, uri=join(f"s3://{report.bucket}", row.key), fingerprint=fingerprint)


def _nanoseconds(modified: str | None) -> int | None:
    """Return a time of a report in nanoseconds since 1970, in whole seconds; ORC writes no time zone."""
    try:
        time = datetime.fromisoformat(modified or "")
    except ValueError:
        return None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000
