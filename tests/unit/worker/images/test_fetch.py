"""Fetching: what storage refuses becomes an item's error; storage that is away does not."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.errors import (
    AccessDeniedError,
    ErrorCode,
    ItemError,
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
)
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.decode import fetch

MAX_BYTES = 100


@pytest.fixture(params=["of a worker", "of a chunk"])
def roots(request: pytest.FixtureRequest, tmp_path: Path) -> AllowedRoots:
    """Given one allowed folder."""
    (tmp_path / "crops").mkdir()
    roots = AllowedRoots((str(tmp_path / "crops"),))
    return roots.for_one_chunk() if request.param == "of a chunk" else roots


@dataclass
class FailingStorage:
    """Storage whose every read fails."""

    error: StorageError

    def at(self, uri: str) -> "FailingStorage":
        return self

    def read(self, uri: str, limit: int) -> bytes:
        raise self.error


def failure_of(uri: str, storage: object, roots: AllowedRoots) -> ItemError:
    with pytest.raises(ItemError) as caught:
        fetch(uri, storage, roots, MAX_BYTES)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("size", [1, MAX_BYTES])
@pytest.mark.parametrize(
    "name", ["a.png", "a b.png", "Größe 图.png", "two\nlines.png", "100%41.png", "-rf.png"]
)
def test_returns_the_bytes_for_any_name(
    tmp_path: Path, storage: Storage, roots: AllowedRoots, name: str, size: int
) -> None:
    path = tmp_path / "crops" / name
    path.write_bytes(b"x" * size)

    assert fetch(str(path), storage, roots, MAX_BYTES) == b"x" * size


def test_a_missing_file(tmp_path: Path, storage: Storage, roots: AllowedRoots) -> None:
    error = failure_of(str(tmp_path / "crops" / "gone.png"), storage, roots)

    assert error.code is ErrorCode.NOT_FOUND
    assert "gone.png" in error.message


def test_zero_bytes(tmp_path: Path, storage: Storage, roots: AllowedRoots) -> None:
    (tmp_path / "crops" / "empty.png").touch()

    error = failure_of(str(tmp_path / "crops" / "empty.png"), storage, roots)

    assert error.code is ErrorCode.EMPTY_FILE
    assert "was its upload cut off?" in error.message


def test_more_bytes_than_allowed(tmp_path: Path, storage: Storage, roots: AllowedRoots) -> None:
    (tmp_path / "crops" / "large.png").write_bytes(b"x" * (MAX_BYTES + 1))

    error = failure_of(str(tmp_path / "crops" / "large.png"), storage, roots)

    assert error.code is ErrorCode.TOO_MANY_BYTES
    assert "TRACE_OCR_MAX_BYTES" in error.message


@pytest.mark.parametrize("uri", ["/etc/passwd", "s3://elsewhere/a.png"])
def test_outside_the_allowed_roots(storage: Storage, roots: AllowedRoots, uri: str) -> None:
    error = failure_of(uri, storage, roots)

    assert error.code is ErrorCode.OUTSIDE_ALLOWED_ROOTS
    assert "TRACE_OCR_ALLOWED_ROOTS" in error.message


@pytest.mark.parametrize("way_out", ["../secret.png", "linked.png", "linked_folder/secret.png"])
def test_no_way_out_of_the_roots(tmp_path: Path, storage: Storage, roots: AllowedRoots, way_out: str) -> None:
    # given a file next to the root, and links in the root that lead to it
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "crops" / "linked.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "crops" / "linked_folder").symlink_to(tmp_path)

    error = failure_of(f"{tmp_path}/crops/{way_out}", storage, roots)

    assert error.code is ErrorCode.OUTSIDE_ALLOWED_ROOTS


def test_a_link_within_the_roots_is_followed(tmp_path: Path, storage: Storage, roots: AllowedRoots) -> None:
    (tmp_path / "crops" / "a.png").write_bytes(b"here")
    (tmp_path / "crops" / "linked.png").symlink_to("a.png")

    assert fetch(str(tmp_path / "crops" / "linked.png"), storage, roots, MAX_BYTES) == b"here"


def test_a_folder_that_becomes_a_link_leads_out_of_the_roots(
    tmp_path: Path, storage: Storage, roots: AllowedRoots
) -> None:
    # given a folder that a file was read from, and that is then replaced
    folder = tmp_path / "crops" / "folder"
    for where in (folder, tmp_path / "elsewhere"):
        where.mkdir()
        (where / "a.png").write_bytes(b"x")
    fetch(str(folder / "a.png"), storage, roots, MAX_BYTES)
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "elsewhere")

    assert failure_of(str(folder / "a.png"), storage, roots).code is ErrorCode.OUTSIDE_ALLOWED_ROOTS


def test_a_link_that_appears_after_the_check_is_not_followed(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crops").mkdir()
    roots = AllowedRoots((str(tmp_path / "crops"),))
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "crops" / "a.png").write_bytes(b"here")
    check = AllowedRoots.resolved

    def swap_after(self: AllowedRoots, uri: str) -> str:
        location = check(self, uri)
        Path(uri).unlink()
        Path(uri).symlink_to(tmp_path / "secret.png")
        return location

    monkeypatch.setattr(AllowedRoots, "resolved", swap_after)

    assert failure_of(str(tmp_path / "crops" / "a.png"), storage, roots).code is ErrorCode.NOT_FOUND


def test_a_pipe_is_no_file(tmp_path: Path, storage: Storage, roots: AllowedRoots) -> None:
    os.mkfifo(tmp_path / "crops" / "a.png")

    assert failure_of(str(tmp_path / "crops" / "a.png"), storage, roots).code is ErrorCode.NOT_A_FILE


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://host/a.png"])
def test_other_schemes_are_refused(storage: Storage, roots: AllowedRoots, uri: str) -> None:
    error = failure_of(uri, storage, roots)

    assert error.code is ErrorCode.UNSUPPORTED_URI
    assert "s3://" in error.message


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(AccessDeniedError, ErrorCode.ACCESS_DENIED), (ObjectMissingError, ErrorCode.NOT_FOUND)],
)
def test_what_storage_refuses_keeps_its_message(
    tmp_path: Path, roots: AllowedRoots, refusal: type[StorageError], code: ErrorCode
) -> None:
    storage = FailingStorage(refusal("a.png: check its owner and mode"))

    error = failure_of(str(tmp_path / "crops" / "a.png"), storage, roots)

    assert error.code is code
    assert error.message == "a.png: check its owner and mode"


def test_storage_that_is_away_is_no_fault_of_the_item(tmp_path: Path, roots: AllowedRoots) -> None:
    storage = FailingStorage(StorageUnavailableError("S3 cannot be reached"))

    with pytest.raises(StorageUnavailableError):
        fetch(str(tmp_path / "crops" / "a.png"), storage, roots, MAX_BYTES)  # type: ignore[arg-type]
