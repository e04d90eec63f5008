"""The bytes of an object: whole bodies by boto3, streams by smart_open's multipart reader and writer."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import smart_open.s3
import tenacity
from botocore.exceptions import BotoCoreError, ClientError

from contract.storage.asking import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE
from contract.storage.base import split_bucket
from contract.storage.s3_errors import translated
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _BodyCutError(OSError):
    """An object's body was cut off in transit."""


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(_BodyCutError),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
    reraise=True,
)
def read_body(client: "S3Client", bucket: str, key: str, limit: int, **asked: Any) -> bytes:
    """Return a body, at most one byte more than `limit`.

    botocore retries the request but not the body's transfer; this retries that.
    """
    answer = client.get_object(Bucket=bucket, Key=key, **asked)
    try:
        with contextlib.closing(answer["Body"]) as body:
            # Without a size argument botocore checks the length against Content-Length.
            return body.read() if answer["ContentLength"] <= limit else body.read(limit + 1)
    except (BotoCoreError, OSError) as error:
        raise _BodyCutError(f"the body was cut off ({type(error).__name__})") from error


@contextlib.contextmanager
def opened_reader(client: "S3Client", uri: str, start: int) -> Iterator[TranslatedStream]:
    """Open the object as a stream from byte `start`; the bytes before it are not fetched."""
    stream: Any
    with translated(uri):
        stream = smart_open.s3.open(*split_bucket(uri), "rb", client=client, defer_seek=start > 0)
        if start:
            stream.seek(start)
    with stream:
        yield TranslatedStream(stream, lambda: translated(uri))


@contextlib.contextmanager
def opened_writer(client: "S3Client", uri: str) -> Iterator[TranslatedStream]:
    """Open a multipart upload; it is aborted if the block raises, so that no object appears."""
    stream: Any
    with translated(uri):
        stream = smart_open.s3.open(*split_bucket(uri), "wb", client=client)
    try:
        yield TranslatedStream(stream, lambda: translated(uri))
        with translated(uri):
            stream.close()
    except BaseException:
        with contextlib.suppress(BotoCoreError, ClientError):
            stream.terminate()
        # If aborting failed too, the sweep aborts it; closing the stream must not complete the upload.
        stream._upload_id = None
        raise
