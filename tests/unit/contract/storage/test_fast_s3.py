"""The faster client: plain objects come by it, and in all else boto3 decides as if it were not there."""

import gzip
import importlib.util
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ParamValidationError

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
)
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.s3 import S3Store
from contract.storage.s3_client import fast_reader, make_client, observe
from contract.storage.s3_streams import read_body
from tests.chaos.faulty_s3 import (
    Exchange,
    Fault,
    FaultyS3,
    Forward,
    cuts,
    faulty,
    forgets_to_answer,
    holds,
    refuses,
)

pytest.importorskip("obstore")

from contract.storage.fast_s3 import FastReader, bucket_url

KEY = "crops/a.png"
Told = list[tuple[str, str, int]]


@pytest.fixture(scope="module")
def proxy(s3_server: str) -> Iterator[FaultyS3]:
    with faulty(s3_server) as proxy:
        yield proxy


@pytest.fixture
def s3(proxy: FaultyS3) -> FaultyS3:
    """Given an S3 that misbehaves as the test says."""
    proxy.lift()
    return proxy


@pytest.fixture
def client(s3: FaultyS3, served_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Given the product's boto3 client, which does not pause between two tries."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr(read_body.retry, "sleep", lambda _: None)  # type: ignore[attr-defined]
    return make_client(Settings(s3_endpoint_url=s3.url, s3_region="us-east-1"))


@pytest.fixture
def told() -> Told:
    """The requests that an observer saw."""
    return []


@pytest.fixture
def store(client: Any, told: Told) -> S3Store:
    """Given both clients, observed."""

    def on_s3(*request: Any) -> None:
        told.append(request)

    observe(client, on_s3)
    return S3Store(client, FastReader(client, on_s3))


def without_boto3(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a boto3 that must not be asked for an object."""
    monkeypatch.setattr(client, "get_object", lambda **_: pytest.fail("boto3 was asked"))


def error_of(read: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        read()
    return raised.value


def headers_of(s3: FaultyS3) -> list[Message]:
    """Return a list that takes the headers of every request from now on."""
    seen: list[Message] = []

    def note(exchange: Exchange, forward: Forward) -> None:
        seen.append(exchange.headers)
        exchange.answer(*forward())

    s3.fail(note)
    return seen


def test_a_plain_object_is_read_without_boto3(
    store: S3Store, served_bucket: Any, client: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = served_bucket.put(KEY, b"pixels")
    without_boto3(client, monkeypatch)

    assert store.read(uri, 6) == b"pixels"
    assert told == [("GetObject", "ok", 0)]


def test_bytes_are_those_that_are_stored(
    store: S3Store, served_bucket: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"a manifest")
    served_bucket.client.put_object(
        Bucket=served_bucket.name, Key="a.jsonl", Body=packed, ContentEncoding="gzip"
    )
    without_boto3(client, monkeypatch)

    assert store.read(served_bucket.uri("a.jsonl"), 1_000) == packed


@pytest.mark.parametrize("key", ["/a.png", "a.png/", "x//a.png", "x/./a.png", "x/../a.png"])
def test_a_key_that_obstore_would_change_is_boto3s(key: str, store: S3Store, served_bucket: Any) -> None:
    for other in ("a.png", "x/a.png"):
        served_bucket.put(other, b"another object")
    uri = served_bucket.put(key, b"pixels")

    assert store.read(uri, 100) == b"pixels"


# what goes wrong


@pytest.mark.parametrize(
    "fault", [refuses(500, "InternalError"), refuses(503, "SlowDown"), cuts, forgets_to_answer]
)
def test_what_passes_is_read_by_boto3_and_counted_as_tried_again(
    fault: Fault, store: S3Store, s3: FaultyS3, served_bucket: Any, told: Told
) -> None:
    uri = served_bucket.put(KEY, b"pixels")
    s3.fail(fault, times=1)

    assert store.read(uri, 100) == b"pixels"
    assert told == [("GetObject", "retried", 1), ("GetObject", "ok", 0)]


def test_a_connection_that_stalls_is_left(
    client: Any, s3: FaultyS3, served_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contract.storage.fast_s3.READ_SECONDS", 0.2)
    uri = served_bucket.put(KEY, b"pixels")
    s3.fail(holds, times=1)

    assert S3Store(client, FastReader(client)).read(uri, 100) == b"pixels"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (refuses(403, "AccessDenied"), AccessDeniedError),
        (refuses(403, "SignatureDoesNotMatch"), CredentialsError),
        (refuses(400, "ExpiredToken"), CredentialsError),
        (refuses(403, "InvalidObjectState"), ArchivedError),
        (refuses(400, "InvalidRequest"), StorageRefusedError),
        (refuses(400, "KMS.DisabledException"), StorageRefusedError),
        (refuses(404, "NoSuchBucket"), ObjectMissingError),
        (refuses(503, "SlowDown"), StorageBusyError),
        (refuses(500, "InternalError"), StorageUnavailableError),
        (cuts, StorageUnavailableError),
        (forgets_to_answer, StorageUnavailableError),
    ],
    ids=[
        *("403", "signature", "expired", "archived", "sse_c", "kms_key", "no_bucket", "slow_down"),
        *("500", "cut_body", "no_answer"),
    ],
)
def test_what_lasts_is_told_as_boto3_alone_tells_it(
    fault: Fault,
    expected: type[StorageError],
    store: S3Store,
    client: Any,
    s3: FaultyS3,
    served_bucket: Any,
) -> None:
    uri = served_bucket.put(KEY, b"pixels")
    s3.fail(fault)

    error = error_of(lambda: store.read(uri, 100))

    assert type(error) is expected
    assert str(error) == str(error_of(lambda: S3Store(client).read(uri, 100)))


def test_an_object_that_is_missing_is_an_answer(store: S3Store, served_bucket: Any, told: Told) -> None:
    with pytest.raises(ObjectMissingError, match="missing"):
        store.read(served_bucket.uri("missing"), 5)

    assert {outcome for _, outcome, _ in told} == {"ok"}


def test_of_an_object_that_is_too_long_no_body_is_fetched(
    client: Any, served_bucket: Any, store: S3Store
) -> None:
    uri = served_bucket.put(KEY, b"123456")

    assert FastReader(client).read(served_bucket.name, KEY, 5) is None
    with pytest.raises(TooManyBytesError, match="larger than 5 bytes"):
        store.read(uri, 5)


def test_without_credentials_boto3_says_which_variables_to_set(
    s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    client = make_client(Settings(s3_endpoint_url=s3.url, s3_region="us-east-1"))

    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        S3Store(client, FastReader(client)).read("s3://bucket/a.png", 5)


def test_a_name_that_no_bucket_has_is_boto3s_to_refuse(client: Any) -> None:
    error = error_of(lambda: S3Store(client, FastReader(client)).read("s3://no bucket/a.png", 5))

    assert isinstance(error.__cause__, ParamValidationError)


# where it asks, and as whom


def test_requests_carry_the_token_of_temporary_credentials(
    client: Any, s3: FaultyS3, served_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    served_bucket.put(KEY, b"pixels")
    seen = headers_of(s3)

    assert FastReader(client).read(served_bucket.name, KEY, 100) == b"pixels"
    [headers] = seen
    assert "Credential=test/" in headers["Authorization"]
    assert "/us-east-1/s3/" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "temporary"


def test_the_settings_overrule_the_variable_that_both_clients_know(
    client: Any, served_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere.invalid")
    served_bucket.put(KEY, b"pixels")

    assert FastReader(client).read(served_bucket.name, KEY, 100) == b"pixels"


def test_both_clients_name_the_product_in_s3s_logs(client: Any, s3: FaultyS3, served_bucket: Any) -> None:
    uri = served_bucket.put(KEY, b"pixels")
    seen = headers_of(s3)

    FastReader(client).read(served_bucket.name, KEY, 100)
    S3Store(client).read(uri, 100)

    assert [headers["User-Agent"].split()[0] for headers in seen] == ["trace-ocr-batch"] * 2


@pytest.mark.parametrize("bucket", ["bucket", "my.bucket", "Old_Bucket"])
@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
@pytest.mark.parametrize("endpoint", [None, "http://minio:9000", "https://127.0.0.1:9000/s3/"])
def test_a_bucket_is_where_boto3_would_find_it(endpoint: str | None, style: str, bucket: str) -> None:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
        config=Config(s3={"addressing_style": style}),
    )
    asked: list[str] = []

    def stop(request: AWSPreparedRequest, **_: object) -> None:
        asked.append(request.url)
        raise InterruptedError

    client.meta.events.register("before-send.s3.GetObject", stop)
    with pytest.raises(InterruptedError):
        client.get_object(Bucket=bucket, Key="key")

    assert [f"{bucket_url(client, bucket)}/key"] == asked


# who has it


def test_what_has_the_extra_installed_reads_by_it(
    served_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = served_bucket.put(KEY, b"pixels")
    storage = Storage(Settings())
    without_boto3(storage.at(uri)._client, monkeypatch)

    assert storage.at(uri).read(uri, 100) == b"pixels"


def test_without_the_extra_boto3_reads_all(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert fast_reader(client, None) is None
