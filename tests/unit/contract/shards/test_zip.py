"""Zip files: what is no image, large archives, and archives that are made to do harm."""

import io
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ErrorCode, ItemError
from contract.shards import SHARDS, Entry, Shard, ShardOptions
from contract.storage import Storage

FORM = SHARDS["zip"]


@pytest.fixture
def opened(tmp_path: Path, storage: Storage) -> Callable[[bytes], Shard]:
    def write(data: bytes) -> Shard:
        path = tmp_path / "a.zip"
        path.write_bytes(data)
        store = storage.at(str(path))
        return Shard(str(path), store, store.version(str(path)))

    return write


def packed(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def entries(shard: Shard, passed_over: Counter[str] | None = None) -> list[Entry]:
    return list(FORM.entries(shard, ShardOptions(), Counter() if passed_over is None else passed_over))


def read(shard: Shard, max_bytes: int = 1 << 20) -> list[bytes | ItemError]:
    return list(FORM.contents(shard, [entry.member for entry in entries(shard)], max_bytes))


def code(file: bytes | ItemError) -> ErrorCode | None:
    return file.code if isinstance(file, ItemError) else None


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_are_read_with_their_labels(opened: Callable[[bytes], Shard], method: int) -> None:
    shard = opened(packed(("ü/a.png", b"one"), ("ü/a.txt", b"label"), ("b.png", b"two"), method=method))

    assert [(entry.id, entry.label) for entry in entries(shard)] == [("ü/a.png", "label"), ("b.png", None)]
    assert read(shard) == [b"one", b"two"]


def test_bytes_before_the_archive_and_a_comment_after_it_are_allowed(
    opened: Callable[[bytes], Shard],
) -> None:
    data = b"#!/bin/sh\n" + packed(("a.png", b"one"))[:-2] + struct.pack("<H", 4) + b"note"

    assert read(opened(data)) == [b"one"]


def test_zip64_is_read(
    opened: Callable[[bytes], Shard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)

    shard = opened(packed(("a.png", b"1" * 100), ("b.png", b"2" * 100), method=zipfile.ZIP_STORED))

    assert b"PK\x06\x06" in Path(shard.uri).read_bytes()
    assert read(shard) == [b"1" * 100, b"2" * 100]


def test_links_folders_and_unsafe_names_are_passed_over(opened: Callable[[bytes], Shard]) -> None:
    passed_over: Counter[str] = Counter()
    shard = opened(
        packed(
            ("a.png", b"one"),
            ("../b.png", b"x"),
            ("/c.png", b"x"),
            ("d/", b""),
            ("e.md", b"x"),
            (unix("f.png", 0o120777), b"/etc/passwd"),
            (unix("g.png", 0o010600), b""),
        )
    )

    assert [entry.id for entry in entries(shard, passed_over)] == ["a.png"]
    assert passed_over == {"unsafe_name": 2, "other_extension": 1, "link": 1, "not_a_file": 1}


def test_each_damage_costs_its_own_file(opened: Callable[[bytes], Shard]) -> None:
    data = bytearray(packed(("a.png", b"one" * 50), ("b.png", b"two" * 50), ("c.png", b"three" * 50)))
    data[data.index(b"PK\x03\x04", 4) + 36] ^= 0xFF

    first, second, third = read(opened(bytes(data)))

    assert (first, third) == (b"one" * 50, b"three" * 50)
    assert code(second) is ErrorCode.DAMAGED_SHARD


def test_a_password_and_an_unknown_method_are_said(opened: Callable[[bytes], Shard]) -> None:
    data = bytearray(packed(("a.png", b"one"), ("b.png", b"two")))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[first + 8] |= 1
    data[second + 10] = 9

    assert [code(file) for file in read(opened(bytes(data)))] == [
        ErrorCode.ENCRYPTED,
        ErrorCode.DAMAGED_SHARD,
    ]


def test_a_bomb_is_unpacked_no_further_than_it_says_and_may(opened: Callable[[bytes], Shard]) -> None:
    honest = packed(("a.png", bytes(4 << 20)))
    lying = bytearray(honest)
    at = lying.index(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<L", 100)

    assert [code(file) for file in read(opened(honest))] == [ErrorCode.TOO_MANY_BYTES]
    assert [code(file) for file in read(opened(bytes(lying)))] == [ErrorCode.DAMAGED_SHARD]
