"""Storage: what a folder and an S3 prefix both do, and which of them a URI names."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.errors import (
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.storage import Storage, Store, copy, is_s3, join


@pytest.fixture(params=["folder", "s3", "s3-fast"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Given an empty folder, or an empty S3 prefix, read by boto3 or by the faster client before it."""
    if request.param == "folder":
        return str(tmp_path / "root")
    if request.param == "s3":
        return str(request.getfixturevalue("s3_bucket").uri("root"))
    pytest.importorskip("obstore")
    return str(request.getfixturevalue("served_bucket").uri("root"))


@pytest.fixture
def store(root: str, storage: Storage) -> Store:
    return storage.at(root)


def test_what_is_written_is_read(store: Store, root: str) -> None:
    store.replace(join(root, "a", "b.json"), b"text")

    assert store.read(join(root, "a", "b.json"), 100) == b"text"


def test_replacing_writes_over_the_older_one(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"older and longer")

    store.replace(join(root, "a"), b"new")

    assert store.read(join(root, "a"), 100) == b"new"


def test_creating_writes_only_where_there_is_nothing(store: Store, root: str) -> None:
    assert store.create(join(root, "a"), b"first")
    assert not store.create(join(root, "a"), b"second")

    assert store.read(join(root, "a"), 100) == b"first"


def test_of_many_who_create_at_once_one_wins(store: Store, root: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.create(join(root, "a"), b"%d" % n), range(8)))

    assert won.count(True) == 1
    assert store.read(join(root, "a"), 100) == b"%d" % won.index(True)


@pytest.mark.parametrize(
    "name", ["a b.png", "-a.png", "50%.png", "a%20b.png", "画像.png", "zwei\nZeilen.png", "a+b&c"]
)
def test_names_are_taken_as_they_are(
    name: str, store: Store, root: str, request: pytest.FixtureRequest
) -> None:
    if "\n" in name and "served_bucket" in request.fixturenames:
        pytest.skip("moto's server has no route for it")
    store.replace(join(root, name), b"text")

    assert store.read(join(root, name), 100) == b"text"
    assert list(store.names(root)) == [name]


def test_an_object_as_long_as_the_limit_is_read(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"12345")

    assert store.read(join(root, "a"), 5) == b"12345"


def test_an_object_longer_than_the_limit_is_not_read(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"123456")

    with pytest.raises(TooManyBytesError, match="larger than 5 bytes"):
        store.read(join(root, "a"), 5)


def test_an_empty_object_is_read_as_no_bytes(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"")

    assert store.read(join(root, "a"), 5) == b""


def test_reading_what_is_missing_is_an_error_that_names_it(store: Store, root: str) -> None:
    with pytest.raises(ObjectMissingError, match="missing"):
        store.read(join(root, "missing"), 5)


def test_streaming_what_is_missing_is_the_same_error(store: Store, root: str) -> None:
    with pytest.raises(ObjectMissingError, match="missing"), store.reader(join(root, "missing")):
        pytest.fail("there is nothing to open")


def test_deleting_removes_and_may_be_repeated(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"x")

    store.delete(join(root, "a"))
    store.delete(join(root, "a"))

    assert not store.exists(join(root, "a"))


def test_existence_is_known(store: Store, root: str) -> None:
    assert not store.exists(join(root, "a"))

    store.replace(join(root, "a"), b"")

    assert store.exists(join(root, "a"))


def test_names_are_those_directly_in_the_folder(store: Store, root: str) -> None:
    for name in ("parts/1.jsonl", "parts/2.jsonl", "parts-2/3.jsonl", "4.jsonl"):
        store.replace(join(root, name), b"")

    assert sorted(store.names(join(root, "parts"))) == ["1.jsonl", "2.jsonl"]


def test_a_folder_that_is_not_there_has_no_names(store: Store, root: str) -> None:
    assert list(store.names(join(root, "nothing"))) == []


def test_a_reader_goes_line_by_line(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"one\ntwo\nthree")

    with store.reader(join(root, "a")) as stream:
        assert list(stream) == [b"one\n", b"two\n", b"three"]


@pytest.mark.parametrize(("start", "rest"), [(0, b"one\ntwo"), (4, b"two"), (7, b"")])
def test_a_reader_begins_where_it_is_told(start: int, rest: bytes, store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"one\ntwo")

    with store.reader(join(root, "a"), start) as stream:
        assert stream.read() == rest


def test_the_size_is_that_of_the_bytes(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"12345")

    assert store.size(join(root, "a")) == 5
    with pytest.raises(ObjectMissingError):
        store.size(join(root, "missing"))


@pytest.mark.parametrize("chunks", [[], [b"one\n"], [b"one\n", b"two\n"]])
def test_a_writer_becomes_the_object_at_its_end(chunks: list[bytes], store: Store, root: str) -> None:
    with store.writer(join(root, "a")) as stream:
        for chunk in chunks:
            stream.write(chunk)
        assert not store.exists(join(root, "a"))

    assert store.read(join(root, "a"), 100) == b"".join(chunks)


def test_a_writer_whose_block_raises_leaves_what_was_there(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"older")

    def stop_half_way() -> None:
        with store.writer(join(root, "a")) as stream:
            stream.write(b"half of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_half_way()

    assert store.read(join(root, "a"), 100) == b"older"
    assert list(store.names(root)) == ["a"]


@pytest.mark.parametrize("error", [ValueError("not JSON"), OSError("another file")])
def test_an_error_of_the_writers_block_is_not_taken_for_one_of_storage(
    error: Exception, store: Store, root: str
) -> None:
    with pytest.raises(type(error)) as raised, store.writer(join(root, "a")):
        raise error

    assert not isinstance(raised.value, StorageError)


def test_a_copy_is_what_it_was_made_of(store: Store, root: str, tmp_path: Path) -> None:
    store.replace(join(root, "a"), b"bytes")

    copy(store, join(root, "a"), tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == b"bytes"


def test_a_copy_for_which_there_is_no_room_is_made_later(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"bytes")

    with pytest.raises(StorageUnavailableError, match=r"cannot hold a copy of .*TMPDIR"):
        copy(store, join(root, "a"), Path("/dev/full"))


@pytest.mark.parametrize("uri", ["https://example.org/a", "gs://bucket/a", "file:///a"])
def test_other_schemes_are_not_supported(uri: str, storage: Storage) -> None:
    with pytest.raises(UnsupportedUriError, match="only local paths and s3://"):
        storage.at(uri)


@pytest.mark.parametrize(("uri", "expected"), [("s3://bucket/a", True), ("/s3:/a", False), ("s3/a", False)])
def test_s3_is_told_by_its_scheme(uri: str, expected: bool) -> None:
    assert is_s3(uri) is expected


@pytest.mark.parametrize(
    ("root", "expected"),
    [("/", "/a/b"), ("/data/", "/data/a/b"), ("/data", "/data/a/b"), ("s3://bucket/", "s3://bucket/a/b")],
)
def test_joining_puts_one_slash_between(root: str, expected: str) -> None:
    assert join(root, "a", "b") == expected
