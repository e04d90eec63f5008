"""S3 and S3-compatible storage: the error of each answer, and writes without conditional PUT."""

import contextlib
from collections.abc import Callable, Iterator
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from contract.errors import (
    AccessDeniedError,
    ArchivedError,
    CredentialsError,
    ObjectMissingError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
    UnsupportedUriError,
)
from contract.settings import Settings
from contract.storage import Storage, Version
from contract.storage.asking import ATTEMPTS
from contract.storage.base import split_bucket
from contract.storage.s3 import S3Store
from contract.storage.s3_client import make_client, observe
from contract.storage.s3_streams import read_body

URI = "s3://bucket/a.png"


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test-secret"
    )


@pytest.fixture
def answers(client: Any) -> Iterator[Stubber]:
    """Given an S3 that answers what the test lays down, in that order."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def store(client: Any) -> S3Store:
    return S3Store(client)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no pause between two tries."""
    monkeypatch.setattr(read_body.retry, "sleep", lambda seconds: None)  # type: ignore[attr-defined]


class CutOff(BytesIO):
    """A body that does not arrive."""

    def read(self, *_: object) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://s3")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NoSuchKey", ObjectMissingError),
        ("NoSuchBucket", ObjectMissingError),
        ("404", ObjectMissingError),
        ("AccessDenied", AccessDeniedError),
        ("SignatureDoesNotMatch", CredentialsError),
        ("ExpiredToken", CredentialsError),
        ("SlowDown", StorageBusyError),
        ("InternalError", StorageUnavailableError),
        ("RequestTimeout", StorageUnavailableError),
        ("InvalidObjectState", ArchivedError),
        ("InvalidRequest", StorageRefusedError),
        ("KMS.DisabledException", StorageRefusedError),
        ("PermanentRedirect", StorageRefusedError),
        ("SomethingThatComesIn2030", StorageRefusedError),
    ],
)
def test_each_answer_is_told_in_our_words(
    code: str, expected: type[StorageError], answers: Stubber, store: S3Store
) -> None:
    answers.add_client_error("get_object", code)

    with pytest.raises(StorageError, match=r"s3://bucket/a\.png") as raised:
        store.read(URI, 5)
    assert type(raised.value) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, StorageRefusedError),
        (429, StorageBusyError),
        (500, StorageUnavailableError),
        (501, StorageRefusedError),
        (503, StorageUnavailableError),
    ],
)
def test_an_answer_without_a_known_code_is_judged_by_its_status(
    status: int, expected: type[StorageError], answers: Stubber, store: S3Store
) -> None:
    answers.add_client_error("head_object", str(status), http_status_code=status)

    with pytest.raises(StorageError) as raised:
        store.size(URI)
    assert type(raised.value) is expected


def test_a_bucket_that_is_missing_is_named(answers: Stubber, store: S3Store) -> None:
    answers.add_client_error("get_object", "NoSuchBucket", http_status_code=404)

    with pytest.raises(ObjectMissingError, match="no bucket bucket"):
        store.read(URI, 5)


@pytest.mark.parametrize("uri", ["s3://bucket/", "s3://in valid/a.png"])
def test_what_cannot_be_the_name_of_an_object_is_refused_for_good(uri: str, store: S3Store) -> None:
    with pytest.raises(StorageRefusedError):
        store.read(uri, 5)


def test_without_credentials_the_error_says_which_variables_to_set(
    client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(client, "get_object", refuse)

    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        store.read(URI, 5)


@pytest.mark.usefixtures("no_waiting")
def test_a_body_cut_off_in_transit_is_fetched_again(
    client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [CutOff(), BytesIO(b"12345")]
    monkeypatch.setattr(client, "get_object", lambda **_: {"Body": bodies.pop(0), "ContentLength": 5})

    assert store.read(URI, 5) == b"12345"


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.usefixtures("no_waiting")
def test_a_range_cut_off_in_transit_is_fetched_again(
    client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies, asked = [CutOff(), BytesIO(b"345")], []

    def answer(**request: Any) -> dict[str, Any]:
        asked.append(request["Range"])
        return {"Body": bodies.pop(0), "ContentLength": 3}

    monkeypatch.setattr(client, "get_object", answer)

    assert store.read_range(URI, 3, 3) == b"345"
    assert asked == ["bytes=3-5"] * 2


def test_an_endpoint_that_stays_away_is_unavailable(
    client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectTimeoutError(endpoint_url="https://s3")

    monkeypatch.setattr(client, "get_object", refuse)

    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        store.read(URI, 5)


@pytest.mark.parametrize("refusal", ["NotImplemented", "InvalidArgument"])
@pytest.mark.parametrize("taken", [False, True])
def test_a_work_alike_without_conditional_writes_is_looked_at_first(
    refusal: str, taken: bool, answers: Stubber, store: S3Store
) -> None:
    answers.add_client_error("put_object", refusal)
    if taken:
        answers.add_response("head_object", {})
    else:
        answers.add_client_error("head_object", "404")
        answers.add_response("put_object", {})

    assert store.create(URI, b"x") is not taken


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_a_name_that_is_taken_is_left(code: str, answers: Stubber, store: S3Store) -> None:
    answers.add_client_error("put_object", code)

    assert store.create(URI, b"x") is False


def test_a_create_that_is_refused_is_an_error(answers: Stubber, store: S3Store) -> None:
    answers.add_client_error("put_object", "AccessDenied")

    with pytest.raises(AccessDeniedError):
        store.create(URI, b"x")


def test_existence_that_may_not_be_asked_is_no_absence(answers: Stubber, store: S3Store) -> None:
    answers.add_client_error("head_object", "403")

    with pytest.raises(AccessDeniedError):
        store.exists(URI)


def test_a_stream_into_a_bucket_that_is_missing_is_an_error_of_storage(s3_bucket: Any) -> None:
    store = S3Store(s3_bucket.client)

    with pytest.raises(ObjectMissingError), store.writer("s3://no-such-bucket/a"):
        pytest.fail("there is nowhere to write")


def refuse_abort(**_: object) -> None:
    raise ClientError({"Error": {"Code": "InternalError"}}, "AbortMultipartUpload")


def test_a_stream_whose_block_raises_aborts_its_own_upload(
    s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, aborted = s3_bucket.client, []
    other = client.create_multipart_upload(Bucket="bucket", Key="a")["UploadId"]
    monkeypatch.setattr(client, "abort_multipart_upload", lambda **asked: aborted.append(asked))

    with contextlib.suppress(RuntimeError), S3Store(client).writer("s3://bucket/a") as stream:
        stream.write(b"half")
        raise RuntimeError

    uploads = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    [ours] = [upload["UploadId"] for upload in uploads if upload["UploadId"] != other]
    assert aborted == [{"Bucket": "bucket", "Key": "a", "UploadId": ours}]


def test_a_stream_whose_upload_cannot_be_aborted_leaves_it_to_the_sweep_and_never_completes_it(
    s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3_bucket.client
    store = S3Store(client)
    with (
        monkeypatch.context() as broken,
        contextlib.suppress(RuntimeError),
        store.writer("s3://bucket/a") as stream,
    ):
        broken.setattr(client, "abort_multipart_upload", refuse_abort)
        stream.write(b"half")
        raise RuntimeError

    # What smart_open does at the end of a stream that it takes for open, and when Python collects it.
    stream._stream.close()

    assert s3_bucket.keys() == []
    assert store.sweep("s3://bucket", {"a", "b"}.__contains__) == 1


def test_objects_come_page_by_page(answers: Stubber, store: S3Store) -> None:
    asked = {"Bucket": "bucket", "Prefix": "crops/", "Delimiter": ""}
    for number, token in ((1, "next"), (2, None)):
        page = {"Contents": [{"Key": f"crops/{number}.png", "Size": number}], "IsTruncated": bool(token)}
        answers.add_response(
            "list_objects_v2", page | ({"NextContinuationToken": token} if token else {}), asked
        )
        asked = {**asked, "ContinuationToken": "next"}

    found = list(store.objects("s3://bucket/crops/"))

    assert found == [("s3://bucket/crops/1.png", 1), ("s3://bucket/crops/2.png", 2)]


STRANGE = ("a b+c%20.png", "ü/漢字.png", "x&<y>.png", "folder/", "q?=#.png", "z/\U0001f600.png", "tab\t.png")


def test_many_listers_find_what_botocore_reads(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    keys = [*(f"crops/{name}" for name in STRANGE), *(f"crops/{number:05}.png" for number in range(40))]
    for key in [*keys, "crops", "crops-2/a.png"]:
        s3_bucket.put(key, key.encode())
    read = [
        entry
        for page in s3_bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket="bucket", Prefix="crops/"
        )
        for entry in page["Contents"]
    ]

    store = S3Store(s3_bucket.client, listers=6)

    assert [entry["Key"] for entry in read] == sorted(keys)
    assert list(store.objects("s3://bucket/crops")) == [
        (f"s3://bucket/{entry['Key']}", entry["Size"]) for entry in read
    ]
    assert [version for _, version in store.versions("s3://bucket/crops")] == [
        Version(entry["Size"], int(entry["LastModified"].timestamp()) * 10**9, entry["ETag"])
        for entry in read
    ]
    assert list(store.names("s3://bucket/crops")) == sorted(
        key.removeprefix("crops/") for key in keys if "/" not in key.removeprefix("crops/")
    )


def test_an_error_on_a_later_page_is_told_in_our_words(
    s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "1")
    for number in range(3):
        s3_bucket.put(f"crops/{number}.png")
    real = s3_bucket.client.list_objects_v2

    def first_only(**asked: Any) -> Any:
        if "ContinuationToken" in asked or "StartAfter" in asked:
            raise ClientError({"Error": {"Code": "ExpiredToken"}}, "ListObjectsV2")
        return real(**asked)

    monkeypatch.setattr(s3_bucket.client, "list_objects_v2", first_only)
    found = S3Store(s3_bucket.client, listers=4).objects("s3://bucket/crops")

    assert next(found) == ("s3://bucket/crops/0.png", 1)
    with pytest.raises(CredentialsError, match="ExpiredToken"):
        next(found)


@pytest.mark.parametrize(
    "body",
    [
        b"<ListBucketResult><Contents><Key>a.png</Key><Size>3</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>a.png</Key><Size>3</Size><ETag>x</ETag>"
        b"<LastModified>2026-11-22T08:00:00.000Z</LastModified></Contents></ListBucketResult>",
    ],
    ids=["without times", "without a namespace"],
)
def test_the_listings_of_s3_compatible_storage_are_read(
    body: bytes, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = SimpleNamespace(stream=lambda **_: iter([body]))
    monkeypatch.setattr(client._endpoint.http_session, "send", lambda _: AWSResponse(URI, 200, {}, raw))

    assert list(S3Store(client).objects("s3://bucket/")) == [("s3://bucket/a.png", 3)]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b.png", ("bucket", "a/b.png")),
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket//a", ("bucket", "/a")),
        ("s3://bucket/50%20.png?x#y", ("bucket", "50%20.png?x#y")),
    ],
)
def test_a_uri_is_bucket_and_key_with_nothing_decoded(uri: str, expected: tuple[str, str]) -> None:
    assert split_bucket(uri) == expected


@pytest.mark.parametrize("uri", ["s3://", "s3:///key"])
def test_a_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(UnsupportedUriError, match="names no bucket"):
        split_bucket(uri)


def test_the_client_goes_where_the_settings_say(settings: Settings) -> None:
    client = make_client(
        settings.model_copy(
            update={"s3_endpoint_url": "http://minio:9000", "s3_region": "eu-x", "s3_path_style": True}
        )
    )

    assert client.meta.endpoint_url == "http://minio:9000"
    assert client.meta.region_name == "eu-x"
    assert client.meta.config.s3["addressing_style"] == "path"


# the sweep


def test_the_sweep_aborts_uploads_that_dead_writers_left_under_the_prefix(s3_bucket: Any) -> None:
    client, store = s3_bucket.client, S3Store(s3_bucket.client)
    s3_bucket.put("out/finished")
    for key in ("out/a", "out/b", "out/theirs", "out/below/a", "out-2/a", "d"):
        client.create_multipart_upload(Bucket="bucket", Key=key)

    swept = [
        store.sweep("s3://bucket/out", {"a", "b"}.__contains__),
        store.sweep("s3://bucket/out/", {"a", "b"}.__contains__),
    ]

    left = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert swept == [2, 0]
    assert sorted(upload["Key"] for upload in left) == ["d", "out-2/a", "out/below/a", "out/theirs"]
    assert s3_bucket.keys() == ["out/finished"]


def test_the_sweep_aborts_each_upload_by_its_own_id(answers: Stubber, store: S3Store) -> None:
    uploads = [{"Key": "out/a", "UploadId": "older"}, {"Key": "out/a", "UploadId": "newer"}]
    answers.add_response("list_multipart_uploads", {"Uploads": uploads, "IsTruncated": False})
    for upload in uploads:
        answers.add_response("abort_multipart_upload", {}, {"Bucket": "bucket", **upload})

    assert store.sweep("s3://bucket/out", {"a", "b"}.__contains__) == 2


def test_a_sweep_that_is_refused_is_an_error_of_storage(answers: Stubber, store: S3Store) -> None:
    answers.add_client_error("list_multipart_uploads", "AccessDenied")

    with pytest.raises(AccessDeniedError):
        store.sweep("s3://bucket/out", {"a", "b"}.__contains__)


# what an observer hears


@pytest.fixture
def heard(client: Any) -> list[tuple[str, str, int]]:
    """Given an observer of the client: the requests it saw."""
    told: list[tuple[str, str, int]] = []
    observe(client, lambda *request: told.append(request))
    return told


@pytest.fixture
def http_answers(client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the HTTP statuses that S3 answers, or the errors of the connection, below the retries."""

    def lay_down(*outcomes: int | Exception) -> None:
        remaining = iter(outcomes)

        def send(request: Any) -> AWSResponse:
            outcome = next(remaining)
            if isinstance(outcome, Exception):
                raise outcome
            raw = SimpleNamespace(stream=lambda **_: iter(()))
            return AWSResponse(URI, outcome, {}, raw)

        monkeypatch.setattr(client._endpoint.http_session, "send", send)
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)

    return lay_down


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        ([200], ("HeadObject", "ok", 0)),
        ([404], ("HeadObject", "ok", 0)),
        ([403], ("HeadObject", "error", 0)),
        ([503, 500, 200], ("HeadObject", "ok", 2)),
    ],
    ids=str,
)
def test_an_observer_hears_of_each_request_once_with_its_retries(
    statuses: list[int],
    told: tuple[str, str, int],
    heard: list[tuple[str, str, int]],
    http_answers: Callable[..., None],
    store: S3Store,
) -> None:
    http_answers(*statuses)

    with contextlib.suppress(StorageError):
        store.exists(URI)

    assert heard == [told]


def test_an_observer_hears_of_requests_that_got_no_answer(
    heard: list[tuple[str, str, int]],
    http_answers: Callable[..., None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    store: S3Store,
) -> None:
    http_answers(*[ConnectTimeoutError(endpoint_url="http://s3")] * ATTEMPTS)

    with pytest.raises(StorageUnavailableError):
        store.exists(URI)

    [(operation, outcome, retries)] = heard
    assert (operation, outcome) == ("HeadObject", "error")
    assert retries > 0


def test_only_a_storage_with_an_observer_is_listened_to(
    settings: Settings, client: Any, answers: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("contract.storage.s3.make_client", lambda settings: client)
    for _ in range(2):
        answers.add_response("head_object", {})

    Storage(settings).at(URI).exists(URI)
    Storage(settings, lambda operation, *_: told.append(operation)).at(URI).exists(URI)

    assert told == ["HeadObject"]
