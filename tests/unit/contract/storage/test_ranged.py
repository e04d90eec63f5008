"""An object of storage as a seekable file."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from contract.errors import ObjectMissingError
from contract.storage.local import LocalStore
from contract.storage.ranged import RangedFile


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
