"""The members of shards in a chunk: read together by few requests, and never from another shard."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from contract.errors import ErrorCode, FileUnavailableError, ItemError, JobError, StorageUnavailableError
from contract.records import Item
from contract.shards.tar import Tar
from contract.storage import Storage
from contract.storage.local import LocalStore
from contract.storage.roots import AllowedRoots
from producer.sources.base import PAGE_EXTENSIONS
from producer.sources.listing import identify_source, list_source
from worker.images.fetching import STORAGE_ATTEMPTS, ItemFiles


def write(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


FILES = {f"{number:03}.png": b"\x89PNG" + bytes([number]) * 1_000 for number in range(200)}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    write(path, FILES)
    return path


@pytest.fixture
def items(shard: Path, storage: Storage) -> list[Item]:
    return list(list_source(identify_source(str(shard)), storage, io.BytesIO()))


@pytest.fixture
def files(shard: Path, storage: Storage) -> Iterator[Callable[..., ItemFiles]]:
    roots = AllowedRoots((str(shard),)).for_one_chunk()

    def made(items: list[Item], attempt: int = 1, *, pages: bool = False) -> ItemFiles:
        return ItemFiles(
            storage,
            roots,
            pages=pages,
            attempt=attempt,
            max_bytes=1 << 20,
            max_document_bytes=1 << 20,
            items=items,
        )

    return made


@pytest.fixture
def reads() -> Iterator[list[tuple[int, int]]]:
    """The ranges that were read."""
    ranges: list[tuple[int, int]] = []
    read_range = LocalStore.read_range

    def counted(self: LocalStore, uri: str, start: int, length: int) -> bytes:
        ranges.append((start, length))
        return read_range(self, uri, start, length)

    with patch.object(LocalStore, "read_range", counted):
        yield ranges


def test_the_members_of_a_chunk_are_read_by_one_request(
    files: Any, items: list[Item], reads: list[tuple[int, int]]
) -> None:
    with files(items) as fetch:
        reads.clear()
        assert [fetch(item) for item in items] == list(FILES.values())

    assert len(reads) == 1


def test_threads_share_what_is_read(files: Any, items: list[Item], reads: list[tuple[int, int]]) -> None:
    barrier = threading.Barrier(8)

    def read(some: list[Item]) -> list[bytes]:
        barrier.wait()
        return [fetch(item) for item in some]

    with files(items) as fetch, ThreadPoolExecutor(8) as threads:
        reads.clear()
        found = list(threads.map(read, [items[start::8] for start in range(8)]))

    assert found == [list(FILES.values())[start::8] for start in range(8)]
    assert len(reads) == 1


def test_members_that_lie_far_apart_are_read_by_themselves(
    shard: Path, storage: Storage, files: Any, reads: list[tuple[int, int]]
) -> None:
    write(shard, {"a.png": b"a", "large.bin": bytes(1 << 20), "b.png": b"b"})
    items = list(list_source(identify_source(str(shard)), storage, io.BytesIO()))

    with files(items) as fetch:
        reads.clear()
        assert [fetch(item) for item in items] == [b"a", b"b"]

    assert sum(length for _, length in reads) == 2


def test_an_item_is_read_again_if_it_is_asked_for_again(files: Any, items: list[Item]) -> None:
    with files(items) as fetch:
        assert fetch(items[3]) == fetch(items[3]) == FILES["003.png"]


def test_a_shard_that_has_changed_gives_errors_and_never_other_images(
    files: Any, items: list[Item], shard: Path
) -> None:
    write(shard, dict(reversed(FILES.items())))

    with files(items) as fetch, pytest.raises(ItemError, match="another one than when") as caught:
        fetch(items[0])

    assert caught.value.code is ErrorCode.SOURCE_CHANGED


def test_a_link_in_the_place_of_a_shard_is_not_followed(
    files: Any, items: list[Item], shard: Path, tmp_path: Path
) -> None:
    shard.rename(tmp_path / "b.tar")
    shard.symlink_to(tmp_path / "b.tar")

    with files(items) as fetch, pytest.raises(ItemError) as caught:
        fetch(items[0])

    assert caught.value.code in (ErrorCode.OUTSIDE_ALLOWED_ROOTS, ErrorCode.NOT_FOUND)


@pytest.mark.parametrize(("attempt", "error"), [(1, FileUnavailableError), (STORAGE_ATTEMPTS, ItemError)])
def test_storage_that_fails_on_a_span_is_asked_once_in_a_run(
    files: Any, items: list[Item], attempt: int, error: type[Exception]
) -> None:
    asked: list[object] = []

    def fail(*arguments: object) -> bytes:
        asked.append(arguments)
        raise StorageUnavailableError("input/output error")

    with files(items, attempt) as fetch, patch.object(LocalStore, "read_range", fail):
        for item in items[:5]:
            with pytest.raises(error):
                fetch(item)

    assert len(asked) == 1


def test_what_a_worker_lacks_is_said_for_every_item_of_a_group(files: Any, items: list[Item]) -> None:
    def lacking(*_: object) -> Iterator[bytes]:
        yield from ()
        raise JobError("install the extra")

    with files(items) as fetch, patch.object(Tar, "contents", lacking):
        for item in items[:2]:
            with pytest.raises(JobError, match="install the extra"):
                fetch(item)


def test_an_empty_member_fails_alone(shard: Path, storage: Storage, files: Any) -> None:
    write(shard, {"a.png": b"", "b.png": b"b"})
    empty, whole = list_source(identify_source(str(shard)), storage, io.BytesIO())

    with files([empty, whole]) as fetch:
        with pytest.raises(ItemError, match=r"a\.tar#a\.png has zero bytes"):
            fetch(empty)
        assert fetch(whole) == b"b"


def test_a_document_in_a_shard_is_a_file_that_its_pages_share(
    shard: Path, storage: Storage, files: Any
) -> None:
    write(shard, {"a.pdf": b"%PDF-1.7 ...", "b.png": b"\x89PNG"})
    document, image = list_source(identify_source(str(shard)), storage, io.BytesIO(), PAGE_EXTENSIONS)

    with files([document, image], pages=True) as fetch:
        path = fetch(document)
        assert path.read_bytes() == b"%PDF-1.7 ..."
        assert (path, path.suffix) == (fetch(document), ".pdf")
        assert fetch(image) == b"\x89PNG"

    assert not path.exists()
