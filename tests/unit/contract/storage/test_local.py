"""Local folders: no half-written file under a final name, and a typed error for every errno."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from contract.errors import (
    AccessDeniedError,
    NotAFileError,
    ObjectMissingError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
)
from contract.storage import local, opening
from contract.storage.local import LocalStore
from contract.storage.plain_files import plain_files


@pytest.fixture
def store() -> LocalStore:
    return LocalStore()


def test_nothing_temporary_is_left(store: LocalStore, tmp_path: Path) -> None:
    store.replace(str(tmp_path / "a"), b"x")
    store.create(str(tmp_path / "b"), b"x")
    store.create(str(tmp_path / "b"), b"y")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def refuse_links(*_: object, **__: object) -> None:
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

    monkeypatch.setattr(local, "open_regular", refuse)

    with pytest.raises(expected, match=r"/data/a\.png"):
        store.read("/data/a.png", 5)


@pytest.mark.parametrize("limit", [9_999, 10_000, 20_000])
def test_a_short_read_is_not_the_files_end(
    limit: int, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(250)) * 40
    (tmp_path / "a").write_bytes(data)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 4_096)))

    if limit < len(data):
        with pytest.raises(TooManyBytesError):
            store.read(str(tmp_path / "a"), limit)
    else:
        assert store.read(str(tmp_path / "a"), limit) == data


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


def test_what_is_neither_file_nor_folder_is_listed_so_that_it_is_no_silent_gap(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b").write_bytes(b"12")
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "circle").symlink_to(root)
    (root / "file").write_bytes(b"123")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "link").symlink_to(tmp_path / "elsewhere" / "b")
    (root / "nowhere").symlink_to("nothing")
    os.mkfifo(root / "pipe")

    found = [(uri.removeprefix(f"{root}/"), size) for uri, size in store.objects(str(root))]

    assert found == [
        ("below/circle", 0),
        ("file", 3),
        ("folder", 0),
        ("link", 0),
        ("nowhere", 0),
        ("pipe", 0),
    ]


def test_only_our_own_temporary_files_are_no_objects(store: LocalStore, tmp_path: Path) -> None:
    leave_half(store, tmp_path / "a")
    (tmp_path / "draft.tmp").touch()

    assert list(store.objects(str(tmp_path))) == [(f"{tmp_path}/draft.tmp", 0)]


def test_objects_below_the_root_of_all_files_have_one_slash(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a").touch()
    open_folder = opening.open_folder
    monkeypatch.setattr(
        opening, "open_folder", lambda path: open_folder(str(tmp_path) if path == "/" else path)
    )

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
    open_folder = opening.open_folder

    def refuse(folder: str) -> int:
        if "locked" in folder:
            raise OSError(number, os.strerror(number))
        return open_folder(folder)

    monkeypatch.setattr(opening, "open_folder", refuse)

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
    monkeypatch.setattr(local, "open_regular", refuse)

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

    leave_half(store, tmp_path / "theirs")
    swept = [store.sweep(str(tmp_path), {"a", "b"}.__contains__) for _ in range(2)]

    assert swept == [1, 0]
    assert sorted(path.name.split(".")[1] for path in tmp_path.glob(".*")) == ["theirs"]
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["below", "finished"]
    assert len(list((tmp_path / "below").iterdir())) == 1


@pytest.mark.parametrize("name", [".profile.tmp", ".tmp", "draft.tmp", ".notes"])
def test_the_sweep_leaves_files_that_are_not_ours(name: str, store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    assert store.sweep(str(tmp_path), lambda _: True) == 0
    assert (tmp_path / name).exists()


# links and special files


@pytest.fixture(params=["openat2", "step by step"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a kernel with openat2, and one without."""
    if request.param == "step by step":
        monkeypatch.setattr(opening, "_opener", lambda: opening._step_by_step)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Given a folder with links to a folder and a file elsewhere, and to a file within; return the folder."""
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    for folder in (elsewhere, root):
        folder.mkdir()
        (folder / "file").write_bytes(b"kept")
    (root / "folder").symlink_to(elsewhere)
    (root / "link").symlink_to(elsewhere / "file")
    (root / "within").symlink_to("file")
    return root


@pytest.mark.usefixtures("opener")
class TestLinks:
    """No link is followed, wherever it is on the path: resolving a path and its check are the caller's."""

    @pytest.mark.parametrize("name", ["folder/file", "link", "within", "folder/../root/file"])
    def test_nothing_is_read_through_one(self, name: str, linked: Path, store: LocalStore) -> None:
        uri = f"{linked}/{name}"

        assert not store.exists(uri)
        assert list(plain_files([uri, f"{linked}/file"], 5)) == [None, b"kept"]
        for read in (
            lambda: store.read(uri, 5),
            lambda: store.read_range(uri, 0, 1),
            lambda: store.size(uri),
            lambda: store.local_copy(uri).__enter__(),
        ):
            with pytest.raises(ObjectMissingError, match="link"):
                read()

    def test_a_linked_folder_has_no_names_and_nothing_to_sweep(self, linked: Path, store: LocalStore) -> None:
        (linked / "folder" / ".a.1-0badcafe.tmp").touch()

        assert list(store.names(f"{linked}/folder")) == []
        assert list(store.objects(f"{linked}/folder")) == []
        assert store.sweep(f"{linked}/folder", lambda _: True) == 0
        assert sorted(store.names(str(linked))) == ["file"]

    @pytest.mark.parametrize("name", ["folder/file", "folder/new", "folder/below/new"])
    def test_nothing_is_written_or_deleted_through_one(
        self, name: str, linked: Path, store: LocalStore
    ) -> None:
        uri = f"{linked}/{name}"

        for write in (store.replace, store.create):
            with pytest.raises(NotAFileError, match="link"):
                write(uri, b"lost")
        store.delete(uri)

        elsewhere = linked.parent / "elsewhere"
        assert [(path.name, path.read_bytes()) for path in elsewhere.iterdir()] == [("file", b"kept")]

    def test_a_link_in_place_of_a_file_is_replaced_or_deleted_itself(
        self, linked: Path, store: LocalStore
    ) -> None:
        assert store.create(f"{linked}/link", b"new") is False
        store.replace(f"{linked}/link", b"new")
        store.delete(f"{linked}/within")

        assert (linked / "link").read_bytes() == b"new"
        assert not (linked / "within").is_symlink()
        assert (
            (linked.parent / "elsewhere" / "file").read_bytes() == (linked / "file").read_bytes() == b"kept"
        )

    def test_folders_are_made_where_they_are_missing(self, linked: Path, store: LocalStore) -> None:
        store.replace(f"{linked}/a/b/c", b"new")

        assert (linked / "a" / "b" / "c").read_bytes() == b"new"

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
    def test_what_is_no_regular_file_is_refused_at_once(
        self, kind: str, tmp_path: Path, store: LocalStore
    ) -> None:
        path = tmp_path / kind
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listener:
                listener.bind(kind)
        elif kind == "folder":
            path.mkdir()
        else:
            path = Path("/dev/zero")

        with pytest.raises(NotAFileError, match="regular files"):
            store.read(str(path), 5)
        with pytest.raises(NotAFileError, match="regular files"):
            store.size(str(path))


# many files at once


@pytest.mark.usefixtures("opener")
def test_plain_files_come_whole_and_all_others_are_left_to_a_read_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name, size in (("a", 1), ("below/b", 5), ("empty", 0), ("large", 6), ("z", 5)):
        (tmp_path / name).write_bytes(b"x" * size)
    os.mkfifo(tmp_path / "pipe")
    names = ["a", "below/b", "none/c", "empty", "large", "pipe", "below", "below/..", "nul\0", "nul\0/b", "z"]

    found = dict(zip(names, plain_files([f"{tmp_path}/{name}" for name in names], 5), strict=True))

    assert {name: data for name, data in found.items() if data is not None} == {
        "a": b"x", "below/b": b"x" * 5, "z": b"x" * 5
    }  # fmt: skip
    assert list(plain_files(["", "/"], 5)) == [None, None]


@pytest.mark.parametrize("come", [3, 8], ids=["less", "more"])
def test_a_file_that_is_not_as_long_as_it_says_is_not_plain(
    come: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5)
    monkeypatch.setattr(os, "read", lambda _descriptor, most: b"x" * min(come, most))

    assert list(plain_files([f"{tmp_path}/a"], 9)) == [None]


def test_no_descriptor_is_left_open_when_reading_ends_early(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))

    files = plain_files([f"{tmp_path}/a"] * 3, 9)
    next(files)
    files.close()  # type: ignore[attr-defined]

    assert len(list(Path("/proc/self/fd").iterdir())) == before
