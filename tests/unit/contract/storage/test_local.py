"""Folders: nothing half-written under a final name, and every errno told as what it means."""

import errno
import os
from pathlib import Path

import pytest

from contract.errors import AccessDeniedError, ObjectMissingError, StorageError, StorageUnavailableError
from contract.storage.local import LocalStore


@pytest.fixture
def store() -> LocalStore:
    return LocalStore()


def test_nothing_temporary_is_left(store: LocalStore, tmp_path: Path) -> None:
    store.replace(str(tmp_path / "a"), b"x")
    store.create(str(tmp_path / "b"), b"x")
    store.create(str(tmp_path / "b"), b"y")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_in_the_making_is_no_name(store: LocalStore, tmp_path: Path) -> None:
    with store.writer(str(tmp_path / "a")) as stream:
        stream.write(b"half")

        assert list(store.names(str(tmp_path))) == []


@pytest.mark.parametrize("name", ["missing", "file/below", "x" * 300, "nul\0byte", "folder"])
def test_what_can_be_no_file_is_missing(name: str, store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(ObjectMissingError):
        store.read(str(tmp_path / name), 5)


def test_a_link_to_itself_is_missing(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(ObjectMissingError):
        store.read(str(tmp_path / "loop"), 5)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, AccessDeniedError),
        (errno.EPERM, AccessDeniedError),
        (errno.EIO, StorageUnavailableError),
        (errno.ESTALE, StorageUnavailableError),
        (errno.ENOSPC, StorageUnavailableError),
    ],
)
def test_what_the_file_system_says_is_told_in_our_words(
    number: int, expected: type[StorageError], store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(expected, match=r"/data/a\.png"):
        store.read("/data/a.png", 5)


@pytest.mark.parametrize(("taken", "wrote"), [(False, True), (True, False)])
def test_without_hard_links_a_file_is_created_by_renaming(
    taken: bool, wrote: bool, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    if taken:
        (tmp_path / "a").write_bytes(b"first")

    assert store.create(str(tmp_path / "a"), b"second") is wrote
    assert (tmp_path / "a").read_bytes() == (b"first" if taken else b"second")


def test_names_of_what_is_no_folder_are_an_error(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError):
        list(store.names(str(tmp_path / "file")))


# the sweep


def leave_half(store: LocalStore, path: Path) -> None:
    """Leave behind what a writer that was killed leaves."""
    path.parent.mkdir(exist_ok=True)
    with store.writer(str(path)) as stream:
        stream.write(b"half")
        (temporary,) = [each for each in path.parent.iterdir() if path.name in each.name]
        data = temporary.read_bytes()
    path.unlink()
    temporary.write_bytes(data)


def test_the_sweep_takes_what_dead_writers_left_directly_in_the_folder(
    store: LocalStore, tmp_path: Path
) -> None:
    leave_half(store, tmp_path / "a")
    leave_half(store, tmp_path / "below" / "b")
    store.replace(str(tmp_path / "finished"), b"x")

    swept = [store.sweep(str(tmp_path)), store.sweep(str(tmp_path))]

    assert swept == [1, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "finished"]
    assert len(list((tmp_path / "below").iterdir())) == 1


@pytest.mark.parametrize("name", [".profile.tmp", ".tmp", "draft.tmp", ".notes"])
def test_the_sweep_leaves_files_that_are_not_ours(name: str, store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    assert store.sweep(str(tmp_path)) == 0
    assert (tmp_path / name).exists()


def test_a_folder_that_is_not_there_has_nothing_to_sweep(store: LocalStore, tmp_path: Path) -> None:
    assert store.sweep(str(tmp_path / "nowhere")) == 0
