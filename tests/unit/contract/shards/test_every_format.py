"""The acceptance tests of every format of shards: what it lists it reads, in order, and in little memory."""

import io
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.errors import ErrorCode, ItemError, SourceError, StorageUnavailableError
from contract.shards import SHARDS, Shard, ShardFormat, ShardOptions
from contract.storage import Storage

FILES = {f"{number:04}.png": b"\x89PNG" + bytes([number % 256]) * (1 + number) for number in range(40)}

MANY = 5_000
"""Members of which all together would take more than MEMORY."""

MEMORY = 2 << 20
"""Bytes that listing may hold: a block read ahead, and the state of a library."""

Pack = Callable[[Path, Mapping[str, bytes]], None]


def tar(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def zipped(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def parquet(path: Path, files: Mapping[str, bytes]) -> None:
    rows = [{"bytes": data, "path": name} for name, data in files.items()]
    pq.write_table(pa.table({"image": rows}), path, row_group_size=100)


def lmdb_file(path: Path, files: Mapping[str, bytes]) -> None:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as file,
        file.begin(write=True) as put,
    ):
        put.put(b"num-samples", str(len(files)).encode())
        for number, data in enumerate(files.values(), 1):
            put.put(b"image-%09d" % number, data)


PACKERS: dict[str, tuple[str, Pack]] = {
    "tar": ("a.tar", tar),
    "compressed_tar": ("a.tar.gz", lambda path, files: tar(path, files, "w:gz")),
    "zip": ("a.zip", zipped),
    "parquet": ("a.parquet", parquet),
    "lmdb": ("data.mdb", lmdb_file),
}
"""Per format, the name of a shard and what writes one, of files in order."""


@pytest.fixture(params=SHARDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def form(name: str) -> ShardFormat:
    return SHARDS[name]


@pytest.fixture
def pack(name: str, tmp_path: Path, storage: Storage) -> Callable[[Mapping[str, bytes]], Shard]:
    file, write = PACKERS[name]

    def packed(files: Mapping[str, bytes]) -> Shard:
        write(tmp_path / file, files)
        return opened(tmp_path / file, storage)

    return packed


def opened(path: Path, storage: Storage) -> Shard:
    store = storage.at(str(path))
    return Shard(str(path), store, store.version(str(path)))


def members_of(form: ShardFormat, shard: Shard) -> list[Any]:
    return [entry.member for entry in form.entries(shard, ShardOptions(), Counter())]


def test_its_modules_name_is_the_format_of_its_members(name: str, form: ShardFormat, pack: Any) -> None:
    assert {member.format for member in members_of(form, pack(FILES))} == {name}


def test_it_lists_the_images_in_order_and_reads_each(form: ShardFormat, pack: Any) -> None:
    shard = pack(FILES)
    entries = list(form.entries(shard, ShardOptions(), Counter()))
    groups = list(form.groups([entry.member for entry in entries]))
    read = [file for group in groups for file in form.contents(shard, group, 1 << 20)]

    assert read == list(FILES.values())
    assert len({entry.id for entry in entries}) == len(FILES)
    assert list(form.entries(shard, ShardOptions(), Counter())) == entries


def test_it_reads_some_members_and_not_those_between(form: ShardFormat, pack: Any) -> None:
    shard = pack(FILES)
    some = members_of(form, shard)[1::7]

    assert list(form.contents(shard, some, 1 << 20)) == list(FILES.values())[1::7]


def test_a_member_that_is_too_large_fails_alone(form: ShardFormat, pack: Any) -> None:
    files = {**dict(list(FILES.items())[:3]), "0003.png": b"\x89PNG" + bytes(5_000)}
    shard = pack(files)
    *others, large = form.contents(shard, members_of(form, shard), 1_000)

    assert others == list(files.values())[:3]
    assert isinstance(large, ItemError)
    assert large.code is ErrorCode.TOO_MANY_BYTES


def test_listing_holds_few_of_many_members(form: ShardFormat, pack: Any) -> None:
    shard = pack({f"{number:06}.png": b"\x89PNG" + bytes(200) for number in range(MANY)})
    tracemalloc.start()
    try:
        counted = sum(1 for _ in form.entries(shard, ShardOptions(), Counter()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert counted == MANY
    assert peak < MEMORY


@pytest.mark.parametrize("part", [0, 0.2, 0.6])
def test_a_shard_that_is_cut_off_is_an_error_that_names_it(
    form: ShardFormat, pack: Any, part: float, storage: Storage
) -> None:
    path = Path(pack(FILES).uri)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])

    with pytest.raises(SourceError, match=path.name):
        members_of(form, opened(path, storage))


def test_storage_that_is_away_is_no_damage(form: ShardFormat, pack: Any) -> None:
    shard = pack(FILES)
    members = members_of(form, shard)

    with away(shard), pytest.raises(StorageUnavailableError):
        members_of(form, shard)
    with away(shard), pytest.raises(StorageUnavailableError):
        list(form.contents(shard, members, 1 << 20))


def away(shard: Shard) -> Any:
    def fail(*_: object) -> Iterator[bytes]:
        raise StorageUnavailableError("away")

    return patch.multiple(type(shard.store), read_range=fail, reader=fail)
