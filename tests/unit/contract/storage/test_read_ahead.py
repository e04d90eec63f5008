"""Reading ahead: few requests for what is read from start to end, and few bytes for what is skipped."""

import io
import tarfile
from collections import Counter
from typing import Any

import pytest

from contract.shards import SHARDS, Shard, ShardOptions
from contract.storage import Version
from contract.storage.read_ahead import FIRST_BYTES, ReadAheadFile


class Held:
    """A remote object in memory; counts the lengths of requests."""

    def __init__(self, data: bytes) -> None:
        self.data, self.lengths = data, list[int]()

    def read_range(self, _uri: str, start: int, length: int) -> bytes:
        self.lengths.append(length)
        return self.data[start : start + length]


def archive(count: int, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for number in range(count):
            header = tarfile.TarInfo(f"{number:05}.png")
            header.size = size
            packed.addfile(header, io.BytesIO(bytes(size)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("count", "size", "requests", "share"),
    [(2_000, 5_000, 6, 1.0), (20, 2 << 20, 22, 0.05)],
    ids=["small members", "large members"],
)
def test_the_headers_of_an_archive_cost_few_requests_or_few_bytes(
    count: int, size: int, requests: int, share: float
) -> None:
    held: Any = Held(archive(count, size))
    shard = Shard("s3://bucket/a.tar", held, Version(len(held.data), 0, "1"))

    assert sum(1 for _ in SHARDS["tar"].entries(shard, ShardOptions(), Counter())) == count
    assert len(held.lengths) <= requests
    assert sum(held.lengths) <= share * len(held.data)


def test_what_is_read_is_what_the_object_holds_wherever_it_is_read() -> None:
    data = bytes(range(256)) * 2_000
    held: Any = Held(data)
    file = ReadAheadFile(held, "s3://bucket/a", len(data))

    for start, length in (
        (0, 10),
        (5, 100),
        (FIRST_BYTES - 3, 6),
        (400_000, 7),
        (0, 3),
        (511_999, 50),
        (9, 200_000),
    ):
        assert file.seek(start) == start
        assert file.read(length) == data[start : start + length]
    file.seek(0)
    assert file.read() == data
