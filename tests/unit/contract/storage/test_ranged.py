"""An object of storage as a seekable file."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from contract.errors import ObjectMissingError
from contract.storage.local import LocalStore
from contract.storage.ranged import RangedFile, SpannedFile


@pytest.fixture
def ten(tmp_path: Path) -> RangedFile:
    path = tmp_path / "ten"
    path.write_bytes(b"0123456789")
    return RangedFile(LocalStore(), str(path), 10)


@pytest.mark.parametrize(
    ("offset", "whence", "size", "expected"),
    [
        (0, os.SEEK_SET, 3, b"012"),
        (-3, os.SEEK_END, -1, b"789"),
        (4, os.SEEK_CUR, None, b"456789"),
        (8, os.SEEK_SET, 100, b"89"),
        (20, os.SEEK_SET, 1, b""),
    ],
)
def test_a_read_starts_where_the_file_was_moved_to(
    ten: RangedFile, offset: int, whence: int, size: int | None, expected: bytes
) -> None:
    ten.seek(offset, whence)
    assert ten.read(size) == expected


def test_a_library_that_seeks_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name", "content")
    file = RangedFile(LocalStore(), str(path), path.stat().st_size)
    with zipfile.ZipFile(io.BufferedReader(file, 1 << 16)) as archive:
        assert archive.read("name") == b"content"


def test_moving_before_the_start_is_an_error(ten: RangedFile) -> None:
    with pytest.raises(OSError, match="no byte -1"):
        ten.seek(-1)


def test_the_errors_are_those_of_storage(tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError):
        RangedFile(LocalStore(), str(tmp_path / "missing"), 10).read(1)


class Counting(LocalStore):
    """Storage that notes the ranges that are read."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        self.ranges.append((start, length))
        return super().read_range(uri, start, length)


def test_expected_spans_side_by_side_are_read_by_one_request(tmp_path: Path) -> None:
    path, store = tmp_path / "hundred", Counting()
    path.write_bytes(bytes(range(100)))
    file = SpannedFile(store, str(path), 100)
    file.expect([(10, 20), (20, 40)])

    read = b""
    for start, length in ((10, 5), (15, 10), (25, 20), (2, 3)):
        file.seek(start)
        read += file.read(length)

    assert read == bytes([*range(10, 45), 2, 3, 4])
    # The spans; what goes beyond them; what is not expected.
    assert store.ranges == [(10, 30), (40, 5), (2, 3)]
