"""Tar files: WebDataset's samples, what is no image, and archives that are made to do harm."""

import io
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ErrorCode, ItemError, SourceError
from contract.shards import SHARDS, Entry, Shard, ShardOptions
from contract.storage import Storage

Add = Callable[[tarfile.TarFile], None]


class Packed:
    """A tar file of a test, and what listing it gives."""

    def __init__(self, path: Path, storage: Storage) -> None:
        self.path, self._storage = path, storage
        self.passed_over: Counter[str] = Counter()

    def __call__(self, *added: Add, form: int = tarfile.PAX_FORMAT) -> "Packed":
        with tarfile.open(self.path, "w", format=form) as archive:
            for add in added:
                add(archive)
        return self

    @property
    def shard(self) -> Shard:
        store = self._storage.at(str(self.path))
        return Shard(str(self.path), store, store.version(str(self.path)))

    def entries(self, options: ShardOptions | None = None) -> list[Entry]:
        return list(SHARDS["tar"].entries(self.shard, options or ShardOptions(), self.passed_over))

    def read(self, entries: list[Entry]) -> list[bytes | ItemError]:
        return list(SHARDS["tar"].contents(self.shard, [entry.member for entry in entries], 1 << 20))


@pytest.fixture
def pack(tmp_path: Path, storage: Storage) -> Packed:
    return Packed(tmp_path / "a.tar", storage)


def file(name: str, data: bytes = b"image", **header: object) -> Add:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    return lambda archive: archive.addfile(info, io.BytesIO(data))


def special(name: str, kind: bytes, link: str = "") -> Add:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return lambda archive: archive.addfile(info)


class TestSamples:
    def test_the_files_of_a_key_are_an_image_its_label_and_its_metadata(self, pack: Packed) -> None:
        pack(
            file("a/7.json", b'{\n "source": "scan 3"\n}'),
            file("a/7.png"),
            file("a/7.txt", "Straße 5\n".encode()),
            file("a/8.png"),
            file("b/7.label", b"no image"),
        )

        first, second = pack.entries()

        assert (first.id, first.label) == ("a/7.png", "Straße 5")
        assert bytes(first.metadata or b"") == b'{"source":"scan 3"}'
        assert (second.id, second.label, second.metadata) == ("a/8.png", None, None)

    def test_of_several_images_each_has_its_own_label_or_else_the_samples(self, pack: Packed) -> None:
        pack(file("7.left.png"), file("7.left.txt", b"one"), file("7.right.png"), file("7.txt", b"both"))

        assert [(entry.id, entry.label) for entry in pack.entries()] == [
            ("7.left.png", "one"),
            ("7.right.png", "both"),
        ]

    def test_columns_are_extensions_and_fields_of_the_metadata(self, pack: Packed) -> None:
        pack(
            file("7.json", b'{"number": 12, "text": "right"}'),
            file("7.left.png"),
            file("7.right.png"),
            file("8.gt", b"given"),
            file("8.left.png"),
        )
        fields = ShardOptions(image_column="left.png", id_column="number", label_column="text")

        assert [(entry.id, entry.label) for entry in pack.entries(fields)] == [
            ("12", "right"),
            ("8.left.png", None),
        ]
        given = pack.entries(ShardOptions(label_column="gt"))
        assert [entry.label for entry in given] == [None, None, "given"]

    def test_a_label_that_cannot_be_read_is_counted_and_costs_no_image(self, pack: Packed) -> None:
        pack(
            file("7.png"), file("7.txt", b"\xff\xfe"), file("8.png"), file("8.txt", b"x" * 20_000),
            file("9.png"), file("9.json", b"[1]"),
        )  # fmt: skip

        assert [(entry.id, entry.label) for entry in pack.entries()] == [
            ("7.png", None),
            ("8.png", None),
            ("9.png", None),
        ]
        assert pack.passed_over == {"unreadable_label": 2, "unreadable_metadata": 1}


class TestNames:
    def test_what_is_no_file_or_has_no_safe_name_is_passed_over(self, pack: Packed) -> None:
        pack(
            file("./a.png"),
            file("../b.png"),
            file("/etc/c.png"),
            file("d/../../d.png"),
            file("._e.png"),
            file("notes.md"),
            special("f.png", tarfile.SYMTYPE, "/etc/passwd"),
            special("g.png", tarfile.LNKTYPE, "a.png"),
            special("h.png", tarfile.FIFOTYPE),
            special("i.png", tarfile.CHRTYPE),
            special("j.png", tarfile.DIRTYPE),
        )

        assert [entry.id for entry in pack.entries()] == ["a.png"]
        assert pack.passed_over == {
            "unsafe_name": 3, "hidden": 1, "other_extension": 1, "link": 2, "not_a_file": 2,
        }  # fmt: skip

    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_names_are_read_in_both_ways_of_writing_them(self, pack: Packed, form: int) -> None:
        name = f"{'folder/' * 40}{'ü' * 60}.png"
        pack(file(name, b"long"), file("b.png", b"next"), form=form)

        entries = pack.entries()

        assert [entry.id for entry in entries] == [name, "b.png"]
        assert pack.read(entries) == [b"long", b"next"]

    def test_a_name_that_is_no_utf_8_is_an_id_all_the_same(self, pack: Packed) -> None:
        pack(file("a\udcff.png"), form=tarfile.GNU_FORMAT)

        assert [entry.id for entry in pack.entries()] == ["a\\xff.png"]


class TestDamage:
    def test_a_sparse_file_fails_alone(self, pack: Packed) -> None:
        sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.png",
                  "GNU.sparse.realsize": "4096"}  # fmt: skip
        pack(file("x", b"1\n0\n512\n".ljust(512, b"\0") + bytes(512), pax_headers=sparse), file("b.png"))

        entries = pack.entries()
        first, second = pack.read(entries)

        assert [entry.id for entry in entries] == ["a.png", "b.png"]
        assert isinstance(first, ItemError)
        assert first.code is ErrorCode.DAMAGED_SHARD
        assert second == b"image"

    def test_a_damaged_header_is_no_end_of_the_archive(self, pack: Packed) -> None:
        pack(file("a.png"), file("b.png"), file("c.png"))
        data = bytearray(pack.path.read_bytes())
        data[1024:1030] = b"\xff" * 6
        pack.path.write_bytes(data)

        with pytest.raises(SourceError, match=r"a\.tar is no tar file, or damaged at byte"):
            pack.entries()

    def test_a_name_of_gigabytes_is_not_read(self, pack: Packed) -> None:
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
        pack.path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))

        with pytest.raises(SourceError, match="headers of a file"):
            pack.entries()

    def test_a_size_below_zero_does_not_lead_back(self, pack: Packed) -> None:
        header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = tarfile.itn(-1024, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        pack.path.write_bytes(bytes(header) + bytes(4096))

        with pytest.raises(SourceError, match="damaged"):
            pack.entries()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, storage: Storage) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        file("zeros.bin", bytes(32 << 20))(archive)
    store = storage.at(str(path))
    shard = Shard(str(path), store, store.version(str(path)))

    with pytest.raises(SourceError, match=r"a\.tar\.gz"):
        list(SHARDS["compressed_tar"].entries(shard, ShardOptions(), Counter()))
