"""gs:// and az:// by obstore: the error of each answer, retries, cut bodies, and names that are refused."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contract.errors import (
    AccessDeniedError,
    ArchivedError,
    CredentialsError,
    ExtraMissingError,
    ObjectMissingError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
    UnsupportedUriError,
    UsageError,
)
from contract.settings import Settings
from contract.storage import Storage, Store, join, obstore_listing
from contract.storage.listing import in_order_of_utf8
from contract.storage.obstore_store import PART_BYTES
from tests.chaos.faulty_s3 import (
    LIST,
    RANGE,
    Exchange,
    FaultyS3,
    Forward,
    cuts,
    faulty,
    forgets_to_answer,
    refuses,
)
from tests.gcs_emulator import GcsEmulator

Told = list[tuple[str, str, int]]

STRANGE = ("a b+c%20.png", "ü/漢字.png", "x&<y>.png", "q?=#.png", "z/\U0001f600.png")


@pytest.fixture(scope="module")
def proxy(gcs_server: tuple[GcsEmulator, str]) -> Iterator[FaultyS3]:
    with faulty(gcs_server[1]) as proxy:
        yield proxy


@pytest.fixture
def network(proxy: FaultyS3, gcs_bucket: str, monkeypatch: pytest.MonkeyPatch) -> FaultyS3:
    """Given a Google Cloud Storage that misbehaves as the test says, and no pause between two tries."""
    proxy.lift()
    monkeypatch.setenv("TRACE_OCR_GCS_ENDPOINT_URL", proxy.url)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return proxy


@pytest.fixture
def told() -> Told:
    """The requests that an observer saw."""
    return []


@pytest.fixture
def store(network: FaultyS3, gcs_bucket: str, told: Told) -> Store:
    return Storage(Settings(), lambda *request: told.append(request)).at(gcs_bucket)


def error_of(ask: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        ask()
    return raised.value


# what an answer means


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", ObjectMissingError),
        (403, "AccessDenied", AccessDeniedError),
        (403, "AuthenticationFailed", CredentialsError),
        (401, "InvalidAuthenticationInfo", CredentialsError),
        (429, "SlowDown", StorageBusyError),
        (503, "ServerBusy", StorageBusyError),
        (503, "ServiceUnavailable", StorageUnavailableError),
        (500, "InternalError", StorageUnavailableError),
        (501, "NotImplemented", StorageRefusedError),
        (409, "BlobArchived", ArchivedError),
        (409, "OperationAborted", StorageUnavailableError),
        (400, "KeyTooLongError", StorageRefusedError),
        (400, "SomethingThatComesIn2030", StorageRefusedError),
    ],
)
def test_each_answer_is_told_in_our_words(
    status: int, code: str, expected: type[StorageError], store: Store, network: FaultyS3, gcs_bucket: str
) -> None:
    network.fail(refuses(status, code))

    error = error_of(lambda: store.read(f"{gcs_bucket}/a.png", 5))

    assert type(error) is expected
    assert f"{gcs_bucket}/a.png" in str(error)
    assert "127.0.0.1" not in str(error)


def test_a_bucket_that_is_missing_is_named(store: Store) -> None:
    with pytest.raises(ObjectMissingError, match="no bucket no-such-bucket"):
        store.read("gs://no-such-bucket/a.png", 5)
    with pytest.raises(ObjectMissingError, match="no bucket no-such-bucket"):
        list(store.objects("gs://no-such-bucket/crops"))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "slash"),
        ("/a", "slash"),
        ("a/", "slash"),
        ("a//b", "empty segment"),
        ("a/../b", r"\.\."),
        ("a\nb", "control"),
    ],
)
def test_keys_that_obstore_would_rewrite_are_refused_for_good(
    key: str, reason: str, store: Store, network: FaultyS3, gcs_bucket: str, told: Told
) -> None:
    rule = network.fail(refuses(404, "NoSuchKey"))

    with pytest.raises(StorageRefusedError, match=reason):
        store.read(f"{gcs_bucket}/{key}", 5)

    assert not rule.hits


@pytest.mark.parametrize("uri", ["gs://in valid/a", "gs://../a", "gs://b?x=y/a", "gs://user:secret@host/a"])
def test_what_cannot_be_a_bucket_is_refused_without_a_request(
    uri: str, store: Store, network: FaultyS3
) -> None:
    rule = network.fail(refuses(404, "NoSuchKey"))

    with pytest.raises(StorageRefusedError, match="bucket"):
        store.read(uri, 5)

    assert not rule.hits


def test_a_uri_without_a_bucket_is_refused(store: Store) -> None:
    with pytest.raises(UnsupportedUriError, match=r"gs:///a names no bucket: write gs://bucket/prefix/"):
        store.read("gs:///a", 5)


# retries


def test_an_observer_hears_of_each_request_once_with_its_retries(
    store: Store, network: FaultyS3, gcs_bucket: str, told: Told
) -> None:
    store.replace(f"{gcs_bucket}/a", b"x")
    network.fail(refuses(503, "ServiceUnavailable"), times=2)

    assert store.read(f"{gcs_bucket}/a", 5) == b"x"
    assert not store.exists(f"{gcs_bucket}/b")
    network.fail(refuses(403, "AccessDenied"))
    error_of(lambda: store.delete(f"{gcs_bucket}/a"))

    assert told == [
        ("gs:PutObject", "ok", 0),
        ("gs:GetObject", "ok", 2),
        ("gs:HeadObject", "ok", 0),
        ("gs:DeleteObject", "error", 0),
    ]


def test_a_body_cut_off_in_transit_is_fetched_again(store: Store, network: FaultyS3, gcs_bucket: str) -> None:
    store.replace(f"{gcs_bucket}/a", b"0123456789")

    network.fail(cuts, "GET", times=1)
    assert store.read(f"{gcs_bucket}/a", 10) == b"0123456789"
    network.fail(cuts, RANGE, times=1)
    assert store.read_range(f"{gcs_bucket}/a", 2, 4) == b"2345"


def test_a_stream_that_is_cut_goes_on_where_it_was(store: Store, network: FaultyS3, gcs_bucket: str) -> None:
    data = bytes(range(256)) * 20_000
    store.replace(f"{gcs_bucket}/a", data)
    network.fail(cuts, "GET", times=1)
    again = network.fail(cuts, RANGE, times=2)

    with store.reader(f"{gcs_bucket}/a") as stream:
        assert stream.read() == data
    assert len(again.hits) == 2


def test_a_stream_of_an_object_that_is_replaced_after_a_cut_is_an_error(
    store: Store, network: FaultyS3, gcs_bucket: str
) -> None:
    store.replace(f"{gcs_bucket}/a", b"old" * 1_000_000)
    network.fail(cuts, "GET", times=1)

    with store.reader(f"{gcs_bucket}/a") as stream:
        store.replace(f"{gcs_bucket}/a", b"new" * 1_000_000)
        with pytest.raises(StorageUnavailableError, match="was replaced while it was read"):
            stream.read()


def test_a_create_whose_answer_is_lost_leaves_one_object(
    store: Store, network: FaultyS3, gcs_bucket: str
) -> None:
    network.fail(forgets_to_answer, "PUT", times=1)

    # Its retry finds the name taken: by itself, which it cannot know.
    assert not store.create(f"{gcs_bucket}/a", b"first")
    assert store.read(f"{gcs_bucket}/a", 5) == b"first"


# listings and uploads


def test_objects_come_page_by_page(
    store: Store, network: FaultyS3, gcs_bucket: str, gcs_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_server[0], "page", 2)
    names = ["a/1.png", "a/2.png", "b.png", "c/1.png", "d.png"]
    for name in names:
        store.replace(join(gcs_bucket, "crops", name), b"x")

    assert [uri for uri, _ in store.objects(f"{gcs_bucket}/crops")] == [
        join(gcs_bucket, "crops", name) for name in names
    ]
    assert sorted(store.names(f"{gcs_bucket}/crops")) == ["b.png", "d.png"]


def test_the_object_that_a_console_makes_for_a_folder_is_not_in_it(
    store: Store, gcs_bucket: str, gcs_server: Any
) -> None:
    gcs_server[0].put(gcs_bucket.removeprefix("gs://"), "crops/", b"")
    store.replace(f"{gcs_bucket}/crops/a.png", b"x")

    assert list(store.objects(f"{gcs_bucket}/crops/")) == [(f"{gcs_bucket}/crops/a.png", 1)]
    assert list(store.names(f"{gcs_bucket}/crops/")) == ["a.png"]


def test_the_objects_of_folders_do_not_break_the_order(
    store: Store, gcs_bucket: str, gcs_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given folders that a console has made: the object of `b/` comes after what begins with `b-`."""
    monkeypatch.setattr(obstore_listing, "PAGE", 3)
    keys = ["b-1.png", "b-2.png", "b/", "b/1.png", "b/c-1.png", "b/c/", "b/c/1.png", "d.png"]
    for key in keys:
        gcs_server[0].put(gcs_bucket.removeprefix("gs://"), key, b"" if key.endswith("/") else b"x")

    assert [uri for uri, _ in store.objects(gcs_bucket)] == [f"{gcs_bucket}/{key}" for key in keys]


def test_many_listers_find_what_one_finds(
    network: FaultyS3, gcs_bucket: str, gcs_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obstore_listing, "PAGE", 4)
    numbers = [f"{number:03}.png" for number in range(60)]
    keys = [*STRANGE, *numbers, *(f"days/{number[:2]}/{number}" for number in numbers)]
    for key in keys:
        gcs_server[0].put(gcs_bucket.removeprefix("gs://"), f"crops/{key}", key.encode())
    both = threading.Barrier(2, timeout=30)

    def waits_for_another(exchange: Exchange, forward: Forward) -> None:
        both.wait()
        exchange.answer(*forward())

    def listed(listers: str, times: int) -> list[Any]:
        network.lift()
        # The first page is listed alone.
        network.fail(waits_for_another, LIST, times=times)
        network.fail(lambda exchange, forward: exchange.answer(*forward()), LIST, times=1)
        monkeypatch.setenv("TRACE_OCR_LIST_THREADS", listers)
        store = Storage(Settings()).at(gcs_bucket)
        return [list(store.versions(f"{gcs_bucket}/crops")), sorted(store.names(f"{gcs_bucket}/crops"))]

    alone, together = listed("1", 0), listed("6", 2)

    assert [uri for uri, _ in alone[0]] == [f"{gcs_bucket}/crops/{key}" for key in sorted(keys)]
    assert together == alone


def test_storage_that_lists_nothing_behind_a_key_is_refused(
    store: Store, network: FaultyS3, gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a work-alike that ignores where a listing is to begin."""
    monkeypatch.setattr(obstore_listing, "PAGE", 2)
    for number in range(5):
        store.replace(f"{gcs_bucket}/{number}.png", b"x")

    def from_its_beginning(exchange: Exchange, forward: Forward) -> None:
        exchange.path = exchange.path.partition("&start-after")[0]
        exchange.answer(*forward())

    network.fail(from_its_beginning, LIST)

    with pytest.raises(StorageRefusedError, match="set TRACE_OCR_LIST_THREADS=1"):
        list(store.objects(gcs_bucket))


def test_a_listing_with_a_name_that_cannot_be_read_is_refused(
    store: Store, gcs_bucket: str, gcs_server: Any
) -> None:
    gcs_server[0].put(gcs_bucket.removeprefix("gs://"), "crops//a.png", b"")

    with pytest.raises(StorageRefusedError, match="empty segment"):
        list(store.objects(f"{gcs_bucket}/crops/"))


def test_utf16_order_becomes_that_of_utf8() -> None:
    listed = [("a", 1), ("b\U0001f600", 2), ("b\uff5e", 3), ("b\uff5f", 4), ("c", 5)]

    assert [number for _, number in in_order_of_utf8(listed, "az://b/")] == [1, 3, 4, 2, 5]


def test_another_order_is_refused() -> None:
    listed = [("az://b/a/1.png", 1), ("az://b/a.png", 2)]

    with pytest.raises(StorageRefusedError, match=r"hierarchical namespace: write a manifest"):
        list(in_order_of_utf8(listed, "az://b/"))


def test_an_upload_whose_block_raises_is_aborted(store: Store, gcs_bucket: str, gcs_server: Any) -> None:
    with contextlib.suppress(RuntimeError), store.writer(f"{gcs_bucket}/a") as stream:
        stream.write(b"x" * (PART_BYTES + 1))
        raise RuntimeError

    assert not gcs_server[0].uploads
    assert not store.exists(f"{gcs_bucket}/a")


def test_an_upload_in_parts_is_one_object(store: Store, network: FaultyS3, gcs_bucket: str) -> None:
    network.fail(refuses(503, "ServiceUnavailable"), "PUT", times=1)

    with store.writer(f"{gcs_bucket}/a") as stream:
        for letter in (b"a", b"b"):
            stream.write(letter * PART_BYTES)
        stream.write(b"c")

    assert store.size(f"{gcs_bucket}/a") == 2 * PART_BYTES + 1
    assert store.read_range(f"{gcs_bucket}/a", 2 * PART_BYTES - 1, 5) == b"bc"


# credentials


def test_without_an_account_the_error_says_which_variables_to_set(settings: Settings) -> None:
    with pytest.raises(CredentialsError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        Storage(settings).at("az://container/a").read("az://container/a", 5)


def test_a_key_file_that_is_missing_is_named_by_its_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")

    with pytest.raises(CredentialsError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        Storage(settings).at("gs://bucket/a").read("gs://bucket/a", 5)


@pytest.mark.parametrize("secret", ["sv=2023-11-03&sig=c2VjcmV0", "not a signature"])
def test_a_refused_signature_is_not_repeated(
    secret: str, azure_container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", secret)

    error = error_of(lambda: Storage(Settings()).at(azure_container).read(f"{azure_container}/a", 5))

    assert isinstance(error, AccessDeniedError)
    assert "c2VjcmV0" not in f"{error}{error.__cause__}"
    assert "signature" not in f"{error}"


# the extra


@pytest.mark.parametrize("uri", ["gs://bucket/a", "az://container/a"])
def test_without_obstore_the_error_names_the_extra(
    uri: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("contract.storage.obstore_")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("obstore", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ExtraMissingError, match=r"trace-ocr-batch\[clouds\]") as raised:
        storage.at(uri)
    assert isinstance(raised.value, UsageError)
    assert raised.value.exit_code == UsageError.exit_code
