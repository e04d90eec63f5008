"""S3 and S3-compatible storage through boto3; streams through smart_open's multipart reader and writer."""

import contextlib
import http
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import smart_open.s3
import tenacity
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ValidationError,
)

from contract.errors import (
    AccessDeniedError,
    ArchivedError,
    CredentialsError,
    ObjectMissingError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.storage.base import BucketBackend, OnRequest, Store, Version, temporary_copy
from contract.storage.s3_listing import Listed, S3Listing
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from contract.settings import Settings
    from contract.storage.fast_s3 import FastReader

ATTEMPTS = 6
"""Tries per request, and per transfer of a body: botocore's jittered backoff then spans some ten seconds."""

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""Timeouts of one request; a stalled connection must not block a chunk for minutes."""

OTHER_CONNECTIONS = 32
"""Connections besides those of the fetch threads: for chunks, parts, statistics, counting and merging."""

SHOWN = 200
"""Maximum characters of S3's own explanation that a message repeats."""

USER_AGENT = "trace-ocr-batch"
"""Our name in S3's access logs. botocore builds its own user agent for each request, which takes a tenth of
the processor time of a small request."""

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {"403", "401", "AccessDenied", "AllAccessDisabled", "AccountProblem"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "InvalidSecurity",
    "NotSignedUp",
}
_ARCHIVED = {"InvalidObjectState"}
_BUSY = {"SlowDown", "Throttling", "ThrottlingException", "KMS.ThrottlingException", "RequestLimitExceeded"}
_PASSING = {"InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "IncompleteBody"}
"""Errors that may pass although their status is 4xx, and those of HEAD requests, which name no status."""
_TAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
_BEYOND = {"416", "InvalidRange"}
_NOT_CONDITIONAL = {"501", "NotImplemented", "400", "InvalidArgument"}

ANSWERED = frozenset({404, 409, 412})
"""HTTP statuses that only say whether an object exists; they do not count as errors."""


class _BodyCutError(OSError):
    """An object's body was cut off in transit."""


def make_client(settings: "Settings") -> "S3Client":
    """Return an S3 client; credentials come from boto3's own chain, never from our settings."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=settings.fetch_threads + settings.list_threads + OTHER_CONNECTIONS,
            user_agent=USER_AGENT,
            # S3-compatible storage rejects the newer checksum trailers unless an operation requires them.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def observe(client: "S3Client", on_request: OnRequest) -> None:
    """Call `on_request` for every request of the client, after its retries, in the caller's thread."""

    def answered(model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        on_request(model.name, "ok" if status < 400 or status in ANSWERED else "error", _retries(context))

    def failed(event_name: str, context: dict[str, Any], **_: Any) -> None:
        on_request(event_name.rpartition(".")[2], "error", _retries(context))

    client.meta.events.register("after-call.s3", answered)
    client.meta.events.register("after-call-error.s3", failed)


def _retries(context: dict[str, Any]) -> int:
    return max(0, int(context.get("retries", {}).get("attempt", 1)) - 1)


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
        bucket, key = split(uri)
        data = self._fast.read(bucket, key, limit) if self._fast else None
        if data is None:
            with _translated(uri):
                data = self._read(bucket, key, limit)
        if len(data) > limit:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`, with a ranged GET."""
        bucket, key = split(uri)
        with _translated(uri):
            try:
                # An empty range cannot be requested.
                last = start + max(length, 1) - 1
                return self._read(bucket, key, length, Range=f"bytes={start}-{last}")[:length]
            except ClientError as error:
                if _code(error) in _BEYOND:
                    return b""
                raise

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(_BodyCutError),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        reraise=True,
    )
    def _read(self, bucket: str, key: str, limit: int, **asked: Any) -> bytes:
        """Return the body. botocore retries the request but not the body's transfer; this retries that."""
        answer = self._client.get_object(Bucket=bucket, Key=key, **asked)
        try:
            with contextlib.closing(answer["Body"]) as body:
                # Without a size argument botocore checks the length against Content-Length.
                return body.read() if answer["ContentLength"] <= limit else body.read(limit + 1)
        except (BotoCoreError, OSError) as error:
            raise _BodyCutError(f"the body was cut off ({type(error).__name__})") from error

    def replace(self, uri: str, data: bytes) -> None:
        """Write the object atomically."""
        bucket, key = split(uri)
        with _translated(uri):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def create(self, uri: str, data: bytes) -> bool:
        """Write the object unless it exists, with a conditional PUT.

        For S3-compatible storage that refuses the condition, check for the object and then use a plain PUT:
        two concurrent writers may then both write the same bytes.
        """
        bucket, key = split(uri)
        with _translated(uri):
            written = _held(
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
        bucket, key = split(uri)
        with _translated(uri):
            # The tag first: an object that is replaced before it is read then has another one.
            tag = self._client.head_object(Bucket=bucket, Key=key)["ETag"]
            if self.read_range(uri, 0, len(old) + 1) != old:
                return False
            written = _held(lambda: self._client.put_object(Bucket=bucket, Key=key, Body=new, IfMatch=tag))
            if written is not None:
                return written
            self._client.put_object(Bucket=bucket, Key=key, Body=new)
        return True

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""
        bucket, key = split(uri)
        with _translated(uri):
            self._client.delete_object(Bucket=bucket, Key=key)

    def exists(self, uri: str) -> bool:
        """Return whether the object exists."""
        bucket, key = split(uri)
        with _translated(uri):
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return True

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""
        bucket, key = split(uri)
        with _translated(uri):
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
        bucket, key = split(uri)
        with _translated(uri):
            answer = self._client.head_object(Bucket=bucket, Key=key)
        return _version(answer, answer["ContentLength"])

    def _listed_below(self, folder: str, *, versions: bool = False) -> Iterator[tuple[str, Listed]]:
        return self._listed(folder.removesuffix("/") + "/", versions=versions)

    def _listed(
        self, prefix: str, delimiter: str = "", *, versions: bool = False
    ) -> Iterator[tuple[str, Listed]]:
        bucket, key = split(prefix)
        listing = self._listing.below(bucket, key, delimiter, versions=versions)
        with _translated(prefix), contextlib.closing(listing):
            for found in listing:
                yield f"s3://{bucket}/{found.key}", found

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        """Abort the multipart uploads of writers that died: their hidden parts are stored and billed."""
        bucket, key = split(folder.rstrip("/") + "/")
        aborted = 0
        with _translated(folder):
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

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the object as a stream from byte `start`; the bytes before it are not fetched."""
        stream: Any
        with _translated(uri):
            stream = smart_open.s3.open(*split(uri), "rb", client=self._client, defer_seek=start > 0)
            if start:
                stream.seek(start)
        with stream:
            yield TranslatedStream(stream, lambda: _translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open a multipart upload; it is aborted if the block raises, so that no object appears."""
        stream: Any
        with _translated(uri):
            stream = smart_open.s3.open(*split(uri), "wb", client=self._client)
        try:
            yield TranslatedStream(stream, lambda: _translated(uri))
            with _translated(uri):
                stream.close()
        except BaseException:
            with contextlib.suppress(BotoCoreError, ClientError):
                stream.terminate()
            # If aborting failed too, the sweep aborts it; closing the stream must not complete the upload.
            stream._upload_id = None
            raise

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


def fast_reader(client: "S3Client", on_request: OnRequest | None) -> "FastReader | None":
    """Return a reader that is faster than boto3, or None unless the extra `s3-fast` is installed."""
    if importlib.util.find_spec("obstore") is None:
        return None
    from contract.storage.fast_s3 import FastReader

    return FastReader(client, on_request)


def split(uri: str) -> tuple[str, str]:
    """Return (bucket, key) of an s3:// URI; keys are not percent-decoded."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise UnsupportedUriError(f"{uri} names no bucket: write s3://bucket/prefix/")
    return bucket, key


def _version(answer: Any, size: int) -> Version:
    """Return the version in an answer or in an entry of a listing; times there have whole seconds."""
    return Version(size, int(answer["LastModified"].timestamp()) * 1_000_000_000, answer.get("ETag"))


def _held(write: Callable[[], object]) -> bool | None:
    """Do a conditional write; return whether its condition held, None if the storage knows no conditions."""
    try:
        write()
    except ClientError as error:
        code = _code(error)
        if code in _TAKEN:
            return False
        if code not in _NOT_CONDITIONAL:
            raise
        return None
    return True


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _translate(uri, error) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound) as error:
        raise CredentialsError(
            f"{uri}: no S3 credentials ({type(error).__name__}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or a profile or role"
        ) from error
    except (ParamValidationError, ValidationError) as error:
        raise StorageRefusedError(f"{uri} cannot be the name of an object: {error}") from error
    except (BotoCoreError, OSError, ValueError) as error:
        # smart_open wraps S3's error in an OSError or a ValueError.
        answered = getattr(error, "backend_error", None) or error.__cause__ or error.__context__
        if isinstance(answered, ClientError):
            raise _translate(uri, answered) from error
        raise StorageUnavailableError(f"{uri}: S3 cannot be reached ({type(error).__name__})") from error


def _translate(uri: str, error: ClientError) -> StorageError:
    code = _code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return ObjectMissingError(f"there is no bucket {split(uri)[0]}, which {uri} names")
    if code in _MISSING:
        return ObjectMissingError(f"there is no object {uri}")
    if code in _CREDENTIALS:
        return CredentialsError(
            f"S3 does not accept the credentials for {uri} ({code}): renew or correct them"
        )
    if code in _DENIED:
        return AccessDeniedError(f"S3 denies access to {uri} ({code}): check the key's or role's permissions")
    if code in _ARCHIVED:
        return ArchivedError(f"{uri} is archived ({code}): restore it, then read it again")
    if code in _BUSY or status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return StorageBusyError(f"{uri}: S3 asks for fewer requests ({code or status})")
    if code in _PASSING or not status or (status >= 500 and status != http.HTTPStatus.NOT_IMPLEMENTED):
        return StorageUnavailableError(f"{uri}: S3 answered {code or status or 'an error'}")
    said = error.response.get("Error", {}).get("Message", "")
    return StorageRefusedError(f"{uri}: S3 refuses it ({code or status}: {said[:SHOWN]})")
