"""S3 and S3-compatible storage through boto3."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from contract.errors import TooManyBytesError
from contract.storage.base import BucketBackend, OnRequest, Store, Version, split_bucket, temporary_copy
from contract.storage.s3_client import fast_reader, make_client, observe
from contract.storage.s3_errors import BEYOND, MISSING, code_of, held, translated
from contract.storage.s3_listing import Listed, S3Listing
from contract.storage.s3_streams import opened_reader, opened_writer, read_body
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from contract.settings import Settings
    from contract.storage.fast_s3 import FastReader


class S3Store:
    """A `contract.storage.Store` over S3 URIs. A PUT and a completed multipart upload are atomic.

    Args:
        client: boto3's client
        fast: tried first for whole objects
        listers: pages of one listing asked for at once, at most
    """

    def __init__(self, client: "S3Client", fast: "FastReader | None" = None, listers: int = 1) -> None:
        self._client = client
        self._fast = fast
        self._listing = S3Listing(client, listers)

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; a body cut off in transit is fetched again."""
        bucket, key = split_bucket(uri)
        data = self._fast.read(bucket, key, limit) if self._fast else None
        if data is None:
            with translated(uri):
                data = read_body(self._client, bucket, key, limit)
        if len(data) > limit:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`, with a ranged GET."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            try:
                # An empty range cannot be requested.
                last = start + max(length, 1) - 1
                return read_body(self._client, bucket, key, length, Range=f"bytes={start}-{last}")[:length]
            except ClientError as error:
                if code_of(error) in BEYOND:
                    return b""
                raise

    def replace(self, uri: str, data: bytes) -> None:
        """Write the object atomically."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def create(self, uri: str, data: bytes) -> bool:
        """Write the object unless it exists, with a conditional PUT.

        For S3-compatible storage that refuses the condition, check for the object and then use a plain PUT:
        two concurrent writers may then both write the same bytes.
        """
        bucket, key = split_bucket(uri)
        with translated(uri):
            written = held(
                lambda: self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
            )
            if written is not None:
                return written
            if self.exists(uri):
                return False
            self._client.put_object(Bucket=bucket, Key=key, Body=data)
        return True

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        """Replace the object if it still holds `old`, with a conditional PUT.

        For S3-compatible storage that refuses the condition, the object is only compared before.
        """
        bucket, key = split_bucket(uri)
        with translated(uri):
            # The tag first: an object that is replaced before it is read then has another one.
            tag = self._client.head_object(Bucket=bucket, Key=key)["ETag"]
            if self.read_range(uri, 0, len(old) + 1) != old:
                return False
            written = held(lambda: self._client.put_object(Bucket=bucket, Key=key, Body=new, IfMatch=tag))
            if written is not None:
                return written
            self._client.put_object(Bucket=bucket, Key=key, Body=new)
        return True

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            self._client.delete_object(Bucket=bucket, Key=key)

    def exists(self, uri: str) -> bool:
        """Return whether the object exists."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return False
                raise
        return True

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            return self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects directly under the prefix, in key order."""
        base = folder.rstrip("/") + "/"
        return (uri[len(base) :] for uri, _ in self._listed(base, delimiter="/"))

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (URI, size in bytes) of every object under the prefix, in key order, in flat memory."""
        return ((uri, found.size) for uri, found in self._listed_below(folder))

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        """Yield (URI, version) of every object under the prefix; listings hold all of it."""
        return (
            (uri, Version(found.size, found.modified, found.etag))
            for uri, found in self._listed_below(folder, versions=True)
        )

    def version(self, uri: str) -> Version:
        """Return the object's version, with a HEAD request."""
        bucket, key = split_bucket(uri)
        with translated(uri):
            answer = self._client.head_object(Bucket=bucket, Key=key)
        # The times of answers have whole seconds.
        modified = int(answer["LastModified"].timestamp()) * 1_000_000_000
        return Version(answer["ContentLength"], modified, answer.get("ETag"))

    def _listed_below(self, folder: str, *, versions: bool = False) -> Iterator[tuple[str, Listed]]:
        return self._listed(folder.removesuffix("/") + "/", versions=versions)

    def _listed(
        self, prefix: str, delimiter: str = "", *, versions: bool = False
    ) -> Iterator[tuple[str, Listed]]:
        bucket, key = split_bucket(prefix)
        listing = self._listing.below(bucket, key, delimiter, versions=versions)
        with translated(prefix), contextlib.closing(listing):
            for found in listing:
                yield f"s3://{bucket}/{found.key}", found

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        """Abort the multipart uploads of writers that died: their hidden parts are stored and billed."""
        bucket, key = split_bucket(folder.rstrip("/") + "/")
        aborted = 0
        with translated(folder):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=bucket, Prefix=key, Delimiter="/"
            )
            for upload in (upload for page in pages for upload in page.get("Uploads", [])):
                name = upload["Key"].removeprefix(key)
                # Some S3-compatible storage ignores the delimiter.
                if "/" in name or not ours(name):
                    continue
                self._client.abort_multipart_upload(
                    Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
                aborted += 1
        return aborted

    def reader(self, uri: str, start: int = 0) -> contextlib.AbstractContextManager[TranslatedStream]:
        """Open the object as a stream from byte `start`; the bytes before it are not fetched."""
        return opened_reader(self._client, uri, start)

    def writer(self, uri: str) -> contextlib.AbstractContextManager[TranslatedStream]:
        """Open a multipart upload; it is aborted if the block raises, so that no object appears."""
        return opened_writer(self._client, uri)

    def local_copy(self, uri: str) -> contextlib.AbstractContextManager[Path]:
        """Copy the object into a local file that is removed at the end."""
        return temporary_copy(self, uri)


class S3Backend(BucketBackend):
    """Amazon S3 and S3-compatible storage; a `contract.storage.Backend`."""

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return the store of all buckets."""
        client = make_client(settings)
        if on_request:
            observe(client, on_request)
        return S3Store(client, fast_reader(client, on_request), settings.list_threads)


BACKEND = S3Backend()
