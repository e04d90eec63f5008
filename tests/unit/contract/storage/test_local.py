"""Local folders: no half-written file under a final name, and a typed error for every errno."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

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


def refuse_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no links here")


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("write", [LocalStore.replace, LocalStore.create])
def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_call_returns(
    write: Any, links: bool, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "folder" / "a", []

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISDIR(found.st_mode):
            synced.append(f"{found.st_size} bytes, named: {path.exists()}")
        elif os.path.samestat(found, path.parent.stat()):
            synced.append(f"its folder, named: {path.exists()}")

    monkeypatch.setattr(os, "fsync", fsync)
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)

    write(store, str(path), b"12345")

    assert synced == ["5 bytes, named: False", "its folder, named: True"]


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
    monkeypatch.setattr(os, "link", refuse_links)
    if taken:
        (tmp_path / "a").write_bytes(b"first")

    assert store.create(str(tmp_path / "a"), b"second") is wrote
    assert (tmp_path / "a").read_bytes() == (b"first" if taken else b"second")


def test_names_of_what_is_no_folder_are_an_error(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError):
        list(store.names(str(tmp_path / "file")))


# listings


def test_objects_are_files_and_links_to_files_but_never_what_links_lead_through(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b").write_bytes(b"12")
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "circle").symlink_to(root)
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "file").symlink_to(tmp_path / "elsewhere" / "b")
    os.mkfifo(root / "pipe")

    assert list(store.objects(str(root))) == [(f"{root}/file", 2)]


def test_a_link_to_nowhere_is_listed_so_that_it_is_no_silent_gap(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere")

    assert list(store.objects(str(tmp_path))) == [(f"{tmp_path}/a", 0)]


def test_only_our_own_temporary_files_are_no_objects(store: LocalStore, tmp_path: Path) -> None:
    leave_half(store, tmp_path / "a")
    (tmp_path / "draft.tmp").touch()

    assert list(store.objects(str(tmp_path))) == [(f"{tmp_path}/draft.tmp", 0)]


def test_objects_below_the_root_of_all_files_have_one_slash(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a").touch()
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: scandir(tmp_path if folder == "/" else folder))

    assert list(store.objects("/")) == [("/a", 0)]


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EACCES, AccessDeniedError), (errno.EIO, StorageUnavailableError)]
)
def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(
    number: int,
    expected: type[StorageError],
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a" / "locked").mkdir(parents=True)
    scandir = os.scandir

    def refuse(folder: str) -> Any:
        if "locked" in folder:
            raise OSError(number, os.strerror(number))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(expected, match="locked"):
        list(store.objects(str(tmp_path)))


# a file of this machine


def test_a_local_file_is_not_copied(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    with store.local_copy(str(tmp_path / "a")) as path:
        assert path == tmp_path / "a"


def test_one_that_may_not_be_read_is_an_error_before_it_is_used(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    (tmp_path / "a").touch()
    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(AccessDeniedError), store.local_copy(str(tmp_path / "a")):
        pytest.fail("nobody may read it")


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
