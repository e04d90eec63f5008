"""What every storage backend does: one suite over all of them, and a new one is a line in `root`."""

import contextlib
import os
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.errors import ObjectMissingError, StorageError, StorageUnavailableError, TooManyBytesError
from contract.storage import Storage, Store, absolute, is_remote, join

whole_reads = pytest.mark.parametrize("root", ["local", "s3", "s3-fast", "gs", "az", "mem"], indirect=True)
"""All of `root`'s, and S3 read by obstore, which only reads whole objects."""

copies = pytest.mark.parametrize("root", ["s3", "gs", "mem"], indirect=True)
"""The ways of remote ones."""


@pytest.fixture(params=["local", "s3", "gs", "az", "mem"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Given an empty folder or prefix of each backend."""
    if request.param == "local":
        return str(tmp_path / "root")
    if request.param == "mem":
        return join(request.getfixturevalue("memory_backend"), "root")
    if request.param == "s3":
        return str(request.getfixturevalue("s3_bucket").uri("root"))
    if request.param == "gs":
        return join(request.getfixturevalue("gcs_bucket"), "root")
    if request.param == "az":
        return join(request.getfixturevalue("azure_container"), "root")
    return str(request.getfixturevalue("served_bucket").uri("root"))


@pytest.fixture
def store(root: str, storage: Storage) -> Store:
    return storage.at(root)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no file of more bytes: a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# whole objects


@whole_reads
def test_what_is_written_is_read(store: Store, root: str) -> None:
    store.replace(join(root, "a", "b.json"), b"text")

    assert store.read(join(root, "a", "b.json"), 100) == b"text"


@whole_reads
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


def test_an_object_is_exchanged_only_while_it_holds_what_the_caller_read(store: Store, root: str) -> None:
    store.create(join(root, "a"), b"first")

    assert store.exchange(join(root, "a"), b"first", b"second")
    assert not store.exchange(join(root, "a"), b"first", b"third")
    assert not store.exchange(join(root, "a"), b"sec", b"third")

    assert store.read(join(root, "a"), 100) == b"second"
    with pytest.raises(ObjectMissingError):
        store.exchange(join(root, "b"), b"", b"new")


@whole_reads
@pytest.mark.parametrize("name", ["a b.png", "-a.png", "50%.png", "a%20b.png", "画像.png", "a+b&c#d?e"])
def test_names_are_taken_as_they_are(name: str, store: Store, root: str) -> None:
    store.replace(join(root, name), b"text")

    assert store.read(join(root, name), 100) == b"text"
    assert list(store.names(root)) == [name]


@pytest.mark.parametrize("root", ["local", "s3", "mem"], indirect=True)
def test_names_of_several_lines_are_taken_as_they_are(store: Store, root: str) -> None:
    store.replace(join(root, "zwei\nZeilen.png"), b"text")

    assert list(store.names(root)) == ["zwei\nZeilen.png"]


@whole_reads
def test_an_object_as_long_as_the_limit_is_read(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"12345")

    assert store.read(join(root, "a"), 5) == b"12345"


@whole_reads
def test_an_object_longer_than_the_limit_is_not_read(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"123456")

    with pytest.raises(TooManyBytesError, match="larger than 5 bytes"):
        store.read(join(root, "a"), 5)


@whole_reads
def test_an_empty_object_is_read_as_no_bytes(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"")

    assert store.read(join(root, "a"), 5) == b""


@whole_reads
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


# listings


def test_names_are_those_directly_in_the_folder(store: Store, root: str) -> None:
    for name in ("parts/1.jsonl", "parts/2.jsonl", "parts-2/3.jsonl", "4.jsonl"):
        store.replace(join(root, name), b"")

    assert sorted(store.names(join(root, "parts"))) == ["1.jsonl", "2.jsonl"]


def test_a_folder_that_is_not_there_has_no_names(store: Store, root: str) -> None:
    assert list(store.names(join(root, "nothing"))) == []


def test_objects_are_all_below_the_folder_in_the_order_of_their_utf8_names(store: Store, root: str) -> None:
    names = [
        "crops/a.png",
        "crops/a/1.png",
        "crops/a/b/2.png",
        "crops/a0",
        "crops/\uff5e",
        "crops/\U0001f600",
    ]
    for name in (*reversed(names), "crops-2/x", "crop", "x"):
        store.replace(join(root, name), name.encode())

    found = [list(store.objects(join(root, folder))) for folder in ("crops", "crops/")]

    assert found == [[(join(root, name), len(name.encode())) for name in names]] * 2


def test_a_folder_that_is_not_there_has_no_objects(store: Store, root: str) -> None:
    assert list(store.objects(join(root, "nothing"))) == []


def test_another_content_of_the_same_length_is_another_version(store: Store, root: str) -> None:
    for name in ("b", "a/1"):
        store.replace(join(root, name), b"old")
    if Path(root).is_dir():  # its clock may stand still between two writes
        os.utime(join(root, "b"), (1, 1))
    before = dict(store.versions(root))
    for uri in before:
        assert store.version(uri) == before[uri]

    store.replace(join(root, "b"), b"new")

    assert list(before) == [join(root, "a/1"), join(root, "b")]
    assert {version.size for version in before.values()} == {3}
    assert store.version(join(root, "a/1")) == before[join(root, "a/1")]
    assert store.version(join(root, "b")) != before[join(root, "b")]


def test_what_is_not_there_has_no_version(store: Store, root: str) -> None:
    with pytest.raises(ObjectMissingError):
        store.version(join(root, "nothing"))
    assert list(store.versions(join(root, "nothing"))) == []


def test_an_unfinished_write_is_no_object(store: Store, root: str) -> None:
    with store.writer(join(root, "a")) as stream:
        stream.write(b"half")

        assert list(store.objects(root)) == []
        assert list(store.names(root)) == []


# parts of objects, and streams


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"012"),
        (3, 3, b"345"),
        (0, 10, b"0123456789"),
        (8, 5, b"89"),
        (10, 5, b""),
        (11, 5, b""),
        (4, 0, b""),
    ],
)
def test_a_range_is_what_of_it_lies_in_the_object(
    start: int, length: int, expected: bytes, store: Store, root: str
) -> None:
    store.replace(join(root, "a"), b"0123456789")

    assert store.read_range(join(root, "a"), start, length) == expected


def test_an_empty_object_has_only_empty_ranges(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"")

    assert store.read_range(join(root, "a"), 0, 5) == b""


@pytest.mark.parametrize("length", [0, 5])
def test_a_range_of_what_is_missing_is_an_error_that_names_it(length: int, store: Store, root: str) -> None:
    with pytest.raises(ObjectMissingError, match="missing"):
        store.read_range(join(root, "missing"), 0, length)


def test_a_reader_goes_line_by_line(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"one\ntwo\nthree")

    with store.reader(join(root, "a")) as stream:
        assert list(stream) == [b"one\n", b"two\n", b"three"]


def test_a_line_is_read_up_to_its_limit_and_the_rest_follows(store: Store, root: str) -> None:
    store.replace(join(root, "a"), b"123456\n7")

    with store.reader(join(root, "a")) as stream:
        read = [stream.readline(4), stream.readline(4), stream.read(1), stream.read()]

    assert read == [b"1234", b"56\n", b"7", b""]


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
            assert stream.write(chunk) == len(chunk)
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


def test_a_folder_that_is_not_there_has_nothing_to_sweep(store: Store, root: str) -> None:
    assert store.sweep(join(root, "nothing"), lambda _: True) == 0


# a file of this machine


@pytest.mark.parametrize("name", ["a.pdf", "b.c/a.TIFF", "no-extension"])
def test_a_local_copy_holds_the_object_and_keeps_its_extension(name: str, store: Store, root: str) -> None:
    store.replace(join(root, name), b"bytes")

    with store.local_copy(join(root, name)) as path:
        assert path.read_bytes() == b"bytes"
        assert path.suffix == Path(name).suffix


def test_a_copy_of_a_remote_object_goes_at_the_end_and_a_local_file_stays(store: Store, root: str) -> None:
    uri = join(root, "a.pdf")
    store.replace(uri, b"bytes")

    with contextlib.suppress(RuntimeError), store.local_copy(uri) as path:
        raise RuntimeError

    assert path.exists() is not is_remote(root)
    assert store.read(uri, 100) == b"bytes"


def test_a_local_copy_of_what_is_missing_is_an_error_that_names_it(store: Store, root: str) -> None:
    with pytest.raises(ObjectMissingError, match="missing"), store.local_copy(join(root, "missing")):
        pytest.fail("there is nothing to copy")


def test_an_error_of_the_block_that_uses_a_copy_is_not_taken_for_one_of_storage(
    store: Store, root: str
) -> None:
    store.replace(join(root, "a.pdf"), b"bytes")

    with pytest.raises(OSError, match="damaged"), store.local_copy(join(root, "a.pdf")):
        raise OSError("damaged")


@copies
def test_where_there_is_no_room_for_a_copy_storage_is_away(store: Store, root: str) -> None:
    store.replace(join(root, "a.pdf"), b"bytes")

    with (
        pytest.raises(StorageUnavailableError, match=r"cannot hold a copy of .*TMPDIR"),
        files_of_at_most(3),
        store.local_copy(join(root, "a.pdf")),
    ):
        pytest.fail("the copy is not whole")

    with store.local_copy(join(root, "a.pdf")) as path:
        assert path.read_bytes() == b"bytes"


@copies
def test_a_copy_has_no_link_on_its_path(
    store: Store, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to("large")
    store.replace(join(root, "a.pdf"), b"bytes")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "link"))

    with store.local_copy(join(root, "a.pdf")) as path:
        assert path == path.resolve()
        assert path.read_bytes() == b"bytes"


@copies
def test_without_a_folder_for_temporary_files_storage_is_away(
    store: Store, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.replace(join(root, "a.pdf"), b"bytes")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-such-folder"))

    with pytest.raises(StorageUnavailableError, match="TMPDIR"), store.local_copy(join(root, "a.pdf")):
        pytest.fail("there is nowhere to copy to")


# URIs


def test_the_absolute_uri_has_no_slash_at_its_end_and_stays_as_it_is(root: str) -> None:
    assert absolute(root + "/") == absolute(root) == absolute(absolute(root)) == root
