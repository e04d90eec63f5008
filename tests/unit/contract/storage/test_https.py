"""https:// URLs: what is read, from where, and that nothing else happens."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import (
    AccessDeniedError,
    ItemError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    ReadOnlyStorageError,
    SourceError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.settings import Settings
from contract.storage import Storage, Store, absolute
from contract.storage.roots import AllowedRoots
from contract.workspace import open_workspace
from producer.sources.listing import identify_source, list_source
from tests.web_server import WebServer, serving
from worker.images.decode import fetch

DATA = bytes(range(256)) * 8_000
"""Some 2 MB: several blocks of a stream."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def web(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> WebServer:
    """Given a web server on this machine, which may be read, and no pause between two tries."""
    for name, value in vars(WebServer(server.certificate, server.url)).items():
        setattr(server, name, value)
    monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", f"{server.url}/")
    monkeypatch.setenv("TRACE_OCR_HTTPS_NETWORKS", "127.0.0.0/8,::1/128")
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return server


@pytest.fixture
def store(web: WebServer) -> Store:
    return Storage(Settings()).at(web.url)


def error_of(ask: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        ask()
    return raised.value


# reading


@pytest.mark.parametrize("ranges", [True, False])
def test_an_object_is_read_whole_in_parts_and_as_a_stream(ranges: bool, store: Store, web: WebServer) -> None:
    web.ranges = ranges
    web.files["/a.png"] = DATA
    uri = f"{web.url}/a.png"

    assert store.read(uri, len(DATA)) == DATA
    assert store.read_range(uri, 3, 5) == DATA[3:8]
    assert store.read_range(uri, len(DATA), 5) == b""
    assert store.read_range(uri, 4, 0) == b""
    for start in (0, 1_500_000, len(DATA)):
        with store.reader(uri, start) as stream:
            assert stream.read() == DATA[start:]


@pytest.mark.parametrize("head", [True, False])
def test_what_a_server_tells_is_the_version(head: bool, store: Store, web: WebServer) -> None:
    web.head = head
    web.files["/a.png"] = b"12345"

    version = store.version(f"{web.url}/a.png")

    assert (version.size, version.modified) == (5, 1_767_225_600_000_000_000)
    assert version.etag
    assert '"' not in version.etag
    assert store.exists(f"{web.url}/a.png")
    assert not store.exists(f"{web.url}/b.png")


def test_a_local_copy_has_the_extension_of_the_path(store: Store, web: WebServer) -> None:
    web.files["/a%20b.pdf?page=/x.y"] = b"pages"

    with store.local_copy(f"{web.url}/a b.pdf?page=/x.y") as path:
        assert (path.read_bytes(), path.suffix) == (b"pages", ".pdf")


def test_an_object_longer_than_the_limit_is_not_read_to_its_end(store: Store, web: WebServer) -> None:
    web.files["/a.png"] = DATA

    with pytest.raises(TooManyBytesError, match="larger than 5 bytes"):
        store.read(f"{web.url}/a.png", 5)


def test_a_body_that_is_cut_is_fetched_again_and_a_stream_goes_on(store: Store, web: WebServer) -> None:
    web.files["/a.png"] = DATA
    web.cuts = 1
    assert store.read(f"{web.url}/a.png", len(DATA)) == DATA

    web.cuts = 2
    web.requests.clear()
    with store.reader(f"{web.url}/a.png") as stream:
        assert stream.read() == DATA
    assert [asked for _, _, asked in web.requests][1:] == [
        f"bytes={position}-" for position in (len(DATA) // 2, len(DATA) * 3 // 4)
    ]


def test_a_stream_of_an_object_that_is_replaced_after_a_cut_is_an_error(store: Store, web: WebServer) -> None:
    web.files["/a.png"] = DATA
    web.cuts = 1

    with store.reader(f"{web.url}/a.png") as stream:
        web.files["/a.png"] = b"other" * len(DATA)
        with pytest.raises(StorageUnavailableError, match="was replaced while it was read"):
            stream.read()


# errors


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, ObjectMissingError),
        (410, ObjectMissingError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (429, StorageBusyError),
        (500, StorageUnavailableError),
        (503, StorageUnavailableError),
        (501, StorageRefusedError),
        (400, StorageRefusedError),
        (204, StorageRefusedError),
    ],
)
def test_each_answer_is_told_in_our_words(
    status: int, expected: type[StorageError], store: Store, web: WebServer
) -> None:
    web.statuses["/a.png"] = [(status, {})]

    error = error_of(lambda: store.read(f"{web.url}/a.png", 5))

    assert type(error) is expected
    assert f"{web.url}/a.png" in str(error)


def test_an_outage_is_waited_for(web: WebServer) -> None:
    told: list[Any] = []
    web.statuses["/a.png"] = [(503, {}), (429, {}), (200, {})]

    assert (
        Storage(Settings(), lambda *request: told.append(request)).at(web.url).read(f"{web.url}/a.png", 5)
        == b""
    )
    assert told == [("https:GetObject", "ok", 2)]


def test_a_redirect_is_not_followed(store: Store, web: WebServer) -> None:
    web.files["/b.png"] = b"secret"
    web.statuses["/a.png"] = [(302, {"Location": f"{web.url}/b.png"})]

    with pytest.raises(StorageRefusedError, match="302, a redirect, which is not followed"):
        store.read(f"{web.url}/a.png", 5)
    assert [path for _, path, _ in web.requests] == ["/a.png"]


def test_a_body_that_is_packed_although_that_was_declined_is_refused(store: Store, web: WebServer) -> None:
    web.statuses["/a.png"] = [(200, {"Content-Encoding": "gzip"})]

    with pytest.raises(StorageRefusedError, match="packed as gzip"):
        store.read(f"{web.url}/a.png", 5)


# where to


@pytest.mark.parametrize(
    "host", ["https://example.org", "https://localhost", "https://localhost.evil.example"]
)
def test_a_host_that_no_root_names_is_not_connected_to(host: str, store: Store, web: WebServer) -> None:
    with pytest.raises(OutsideAllowedRootsError, match=f"add {host}/ to TRACE_OCR_ALLOWED_ROOTS"):
        store.read(f"{host}/a.png", 5)


def test_an_address_inside_is_refused_unless_its_network_is_named(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACE_OCR_HTTPS_NETWORKS")

    with pytest.raises(
        StorageRefusedError, match="not public: allow its network in TRACE_OCR_HTTPS_NETWORKS"
    ):
        Storage(Settings()).at(web.url).read(f"{web.url}/a.png", 5)
    assert not web.requests


def test_a_certificate_of_nobody_we_know_is_refused(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        Storage(Settings()).at(web.url).read(f"{web.url}/a.png", 5)
    assert not web.requests


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://Example.ORG:443/A/b.png", "https://example.org/A/b.png"),
        ("https://example.org:8443/", "https://example.org:8443"),
        ("https://example.org/a b%20c.png?x=/../&y", "https://example.org/a b%20c.png?x=/../&y"),
        ("https://[::1]/a", "https://[::1]/a"),
    ],
)
def test_the_canonical_form_is_that_of_the_host(uri: str, expected: str) -> None:
    assert absolute(uri) == expected
    assert absolute(expected) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "https://",
        "https:///a",
        "https://user:secret@example.org/a",
        "https://example.org/a#b",
        "https://example.org/a/../b",
        "https://example.org/a/%2e%2E/b",
        "https://example.org\\@evil.example/a",
        "https://example.org/a\\b",
        "https://example.org/a\nb",
        "https://example.org?a",
        "https://exa mple.org/a",
    ],
)
def test_what_servers_read_differently_is_refused(uri: str) -> None:
    with pytest.raises(UnsupportedUriError) as raised:
        absolute(uri)
    assert "secret" not in str(raised.value)


def test_items_are_read_below_the_roots_only(web: WebServer) -> None:
    web.files["/team/a.png"] = web.files["/a.png"] = b"pixels"
    roots, storage = AllowedRoots((f"{web.url}/team/",)), Storage(Settings())

    assert fetch(f"{web.url}/team/a.png", storage, roots, 100) == b"pixels"
    with pytest.raises(ItemError, match="outside the allowed roots"):
        fetch(f"{web.url}/a.png", storage, roots, 100)


# nothing else


@pytest.mark.parametrize(
    "write",
    [
        lambda store, uri: store.replace(uri, b""),
        lambda store, uri: store.create(uri, b""),
        lambda store, uri: store.exchange(uri, b"", b""),
        lambda store, uri: store.delete(uri),
        lambda store, uri: store.writer(uri),
        lambda store, uri: store.sweep(uri, bool),
    ],
)
def test_nothing_is_written(write: Callable[[Store, str], object], store: Store, web: WebServer) -> None:
    with pytest.raises(ReadOnlyStorageError, match="can only be read"):
        write(store, f"{web.url}/a")
    assert not web.requests


def test_a_workspace_cannot_be_there(web: WebServer) -> None:
    with pytest.raises(ReadOnlyStorageError, match="a workspace cannot be on https://"):
        open_workspace(f"{web.url}/out", Storage(Settings()))


def test_a_prefix_is_no_source_and_a_manifest_is_one(web: WebServer) -> None:
    web.files["/lists/crops.csv"] = b"id,uri\nfirst,a.png\n"
    storage = Storage(Settings())

    def items(text: str) -> list[Any]:
        return list(list_source(identify_source(text), storage, sys.stdin.buffer))

    with pytest.raises(SourceError, match="https:// cannot be listed: write a manifest of its URLs"):
        items(f"{web.url}/crops/")
    assert [item.uri for item in items(f"{web.url}/lists/crops.csv")] == [f"{web.url}/lists/a.png"]


def test_roots_on_https_hold_no_jobs(tmp_path: Path) -> None:
    roots = AllowedRoots((str(tmp_path), "https://example.org/"))

    assert list(roots) == [str(tmp_path)]
    assert roots.contain("https://example.org/a.png")
    assert not roots.within(["https://example.org/team/"]).is_empty
