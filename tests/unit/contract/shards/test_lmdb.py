"""LMDB of scene text: its keys, and what a damaged one costs."""

import importlib.util
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import pytest

from contract.errors import ErrorCode, ItemError, JobError, SourceError
from contract.shards import Entry, Shard, ShardOptions
from contract.shards import lmdb as shards_lmdb
from contract.shards.lmdb import FORMAT
from contract.storage.local import LocalStore

MAX_BYTES = 1 << 20

Keys = dict[str, bytes]

Make = Callable[[Keys], Shard]


def shard_of(path: Path) -> Shard:
    store = LocalStore()
    return Shard(str(path), store, store.version(str(path)))


def keys_of(images: Sequence[bytes]) -> Keys:
    keys = {f"image-{number:09d}": image for number, image in enumerate(images, 1)}
    labels = {f"label-{number:09d}": f"ü{number}".encode() for number in range(1, len(images) + 1)}
    return {"num-samples": str(len(images)).encode(), **keys, **labels}


@pytest.fixture
def made(tmp_path: Path) -> Make:
    def make(keys: Keys) -> Shard:
        path = tmp_path / "data.mdb"
        with (
            lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 26) as file,
            file.begin(write=True) as put,
        ):
            for key, value in keys.items():
                put.put(key.encode(), value)
        return shard_of(path)

    return make


def entries(shard: Shard, passed_over: Counter[str] | None = None) -> list[Entry]:
    return list(FORMAT.entries(shard, ShardOptions(), Counter() if passed_over is None else passed_over))


def contents(shard: Shard, found: Sequence[Entry], max_bytes: int = MAX_BYTES) -> list[bytes | ItemError]:
    groups = FORMAT.groups([entry.member for entry in found])
    return [content for group in groups for content in FORMAT.contents(shard, group, max_bytes)]


def codes(found: Sequence[bytes | ItemError]) -> list[ErrorCode | bytes]:
    return [content.code if isinstance(content, ItemError) else content for content in found]


def test_images_and_labels_are_read_by_their_numbers(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [bytes([number % 256]) * (number + 1) for number in range(1_500)]
    shard = made(keys_of(images))
    monkeypatch.setattr(shards_lmdb, "BATCH_BYTES", 100_000)

    found = entries(shard)

    assert [entry.id for entry in found[:2]] == ["image-000000001", "image-000000002"]
    assert found[-1].label == "ü1500"
    assert FORMAT.size(found[9].member) == 10
    assert contents(shard, found) == images
    assert contents(shard, found[3::400]) == images[3::400]


def test_a_missing_image_is_passed_over_a_missing_label_is_none_and_later_keys_are_left_out(
    made: Make,
) -> None:
    keys = keys_of([b"1", b"2", b"3"])
    del keys["image-000000002"], keys["label-000000003"]
    passed_over: Counter[str] = Counter()

    found = entries(made({**keys, "image-000000004": b"4", "image-x": b"5"}), passed_over)

    assert [(entry.member.name[-1], entry.label) for entry in found] == [("1", "ü1"), ("3", None)]
    assert passed_over == {"missing_image": 1}


def test_a_label_that_is_not_utf8_keeps_what_is(made: Make) -> None:
    (entry,) = entries(made({**keys_of([b"1"]), "label-000000001": b"a\xff"}))

    assert entry.label == "a\ufffd"


def test_an_image_that_is_gone_or_too_large_is_an_error_of_its_own(made: Make) -> None:
    found = entries(made(keys_of([b"1", b"22", b"3"])))
    shard = made({"image-000000003": b"3"})
    with lmdb.open(shard.uri, subdir=False, lock=False) as file, file.begin(write=True) as change:
        change.delete(b"image-000000001")

    assert codes(contents(shard, found, max_bytes=1)) == [
        ErrorCode.NOT_FOUND,
        ErrorCode.TOO_MANY_BYTES,
        b"3",
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image-000000001": b"1"}, "no key num-samples"),
        ({"num-samples": b"many"}, "no key num-samples with a number"),
        ({**keys_of([b"1"]), "label-000000001": b"x" * 5_000}, "label of more than 4,096.*label-000000001"),
    ],
)
def test_an_lmdb_of_something_else_is_an_error_of_the_source(keys: Keys, message: str, made: Make) -> None:
    with pytest.raises(SourceError, match=message):
        entries(made(keys))


@pytest.mark.parametrize("data", [b"", b"no LMDB" * 2_000])
def test_a_file_that_is_no_lmdb_is_an_error_of_the_source(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.mdb"
    path.write_bytes(data)

    with pytest.raises(SourceError, match="no LMDB file, or a damaged one"):
        entries(shard_of(path))


def test_a_file_that_is_cut_off_ends_neither_the_planner_nor_the_worker(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [random.Random(number).randbytes(9_000) for number in range(12)]
    whole = made(keys_of(images))
    found = entries(whole)
    path = Path(whole.uri)
    monkeypatch.setattr(shards_lmdb, "MAX_CRASHES", 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    read = contents(shard_of(path), found)

    # A page that is not there ends the process that reads it.
    assert ErrorCode.DAMAGED_SHARD in codes(read)
    assert len(read) == 12
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(SourceError, match="damaged or cut off"):
        entries(shard_of(path))


def test_an_lmdb_in_remote_storage_is_refused(made: Make) -> None:
    shard = Shard("s3://bucket/data.mdb", LocalStore(), made({}).version)

    with pytest.raises(SourceError, match="only be read from local files"):
        entries(shard)


def test_without_lmdb_the_extra_is_named(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = made(keys_of([b"1"]))
    found = entries(shard)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SourceError, match=r"trace-ocr-batch\[lmdb\]"):
        entries(shard)
    with pytest.raises(JobError, match=r"trace-ocr-batch\[lmdb\]"):
        contents(shard, found)
