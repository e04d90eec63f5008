"""Sources of shards: which shards a name stands for, the ids of their images, and what is refused."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.errors import SourceError, UsageError
from contract.records import Item
from contract.source import Shards, Source
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.sources.fingerprints import fingerprinter
from producer.sources.listing import identify_source, identify_sources, list_source
from producer.sources.regions import check_regions, identify_regions
from producer.sources.shards import with_columns


def tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(name)
            archive.addfile(header, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards, of two images and of one, and a file that is none."""
    folder = tmp_path / "set"
    (folder / "more").mkdir(parents=True)
    (folder / "s-00.tar").write_bytes(tar("a.png", "b.png"))
    (folder / "s-01.tar").write_bytes(tar("a.png"))
    (folder / "more" / "s-02.tar").write_bytes(tar("c.png"))
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def listed(storage: Storage) -> Callable[[Source], list[Item]]:
    def items(source: Source) -> list[Item]:
        roots = AllowedRoots(source.uris) if source.confined else None
        return list(list_source(source, storage, io.BytesIO(), roots=roots))

    return items


Listed = Callable[[Source], list[Item]]


def test_the_ids_in_one_shard_are_the_names_that_files_of_a_folder_would_have(
    folder: Path, listed: Listed
) -> None:
    items = listed(identify_source(str(folder / "s-00.tar")))

    assert [(item.id, item.name) for item in items] == [("a.png", "a.png"), ("b.png", "b.png")]
    assert items[0].uri == str(folder / "s-00.tar")
    assert items[0].address == f"{folder}/s-00.tar#a.png"


@pytest.mark.parametrize("names", ["s-{00..01}.tar", "s-*.tar", "{s-00,s-01}.tar", "s-0[01].tar"])
def test_of_several_shards_the_shards_name_comes_first(folder: Path, listed: Listed, names: str) -> None:
    source = identify_source(f"{folder}/{names}")

    assert source == Source(type="shards", uri=str(folder), shards=Shards(names=names))
    assert [item.id for item in listed(source)] == ["s-00.tar/a.png", "s-00.tar/b.png", "s-01.tar/a.png"]


def test_names_that_the_shell_has_written_out_give_the_same_ids(folder: Path, listed: Listed) -> None:
    source = identify_sources([str(folder / name) for name in ("s-00.tar", "s-01.tar")])

    assert [item.id for item in listed(source)] == ["s-00.tar/a.png", "s-00.tar/b.png", "s-01.tar/a.png"]


def test_shards_in_a_prefix_are_found_at_any_depth(folder: Path, listed: Listed, s3_bucket: Any) -> None:
    for path in folder.rglob("*.tar"):
        s3_bucket.put(f"set/{path.relative_to(folder)}", path.read_bytes())

    items = listed(identify_source("s3://bucket/set/**/*.tar"))

    assert [item.id for item in items] == [
        "more/s-02.tar/c.png", "s-00.tar/a.png", "s-00.tar/b.png", "s-01.tar/a.png",
    ]  # fmt: skip
    assert {item.uri for item in items} >= {"s3://bucket/set/s-00.tar"}
    assert all(item.member and item.member.version for item in items)


def test_a_file_whose_name_has_braces_is_one_shard(folder: Path, listed: Listed) -> None:
    (folder / "{x}.tar").write_bytes(tar("a.png"))

    assert [item.id for item in listed(identify_source(str(folder / "{x}.tar")))] == ["a.png"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("s-{00..02}.tar", r"s-02\.tar cannot be read: there is no file"),
        ("x-*.tar", r"no shard in .*/set matches x-\*\.tar"),
        ("{../out,s-00}.tar", "outside the allowed roots"),
    ],
)
def test_a_shard_that_is_missing_or_elsewhere_is_an_error(
    folder: Path, listed: Listed, names: str, message: str
) -> None:
    (folder.parent / "out.tar").write_bytes(tar("a.png"))

    with pytest.raises(SourceError, match=message):
        listed(identify_source(f"{folder}/{names}"))


def test_more_shards_than_can_be_meant_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="more than 100,000 shards"):
        identify_source(f"{folder}/{{000000..999999}}.tar")


def test_an_image_that_is_twice_in_a_shard_is_an_error(folder: Path, listed: Listed) -> None:
    (folder / "s-00.tar").write_bytes(tar("a.png", "b.png", "a.png"))

    with pytest.raises(SourceError, match=r"s-00\.tar holds 'a\.png' twice, as images 1 and 3"):
        listed(identify_source(str(folder / "s-00.tar")))


def test_a_folder_of_shards_says_how_to_read_them(folder: Path, storage: Storage) -> None:
    listing = list_source(identify_source(str(folder)), storage, io.BytesIO())

    assert list(listing) == []
    assert listing.passed_over == {"shard": 3, "other_extension": 1}


def test_columns_are_for_shards(folder: Path) -> None:
    shards, whole = identify_source(f"{folder}/*.tar"), identify_source(str(folder))

    assert with_columns(shards, None, None, "gt").shards == Shards(names="*.tar", label_column="gt")
    assert with_columns(whole, None, None, None) == whole
    with pytest.raises(UsageError, match="is a folder, and label_column is for shards"):
        with_columns(whole, None, None, "gt")


def test_no_regions_are_read_of_shards(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "template.json").touch()
    regions = identify_regions(f"template:{tmp_path}/template.json")
    source = identify_source(str(folder / "s-00.tar")).model_copy(update={"regions": regions})

    with pytest.raises(UsageError, match="of which no regions are read"):
        check_regions(source, "recognition")


def test_fingerprints_tell_members_of_one_shard_apart(folder: Path, listed: Listed, storage: Storage) -> None:
    look = fingerprinter("mtime+size", storage, None)
    items = listed(identify_source(str(folder / "s-00.tar")))
    first, second = map(look, items)

    assert first.fingerprint != second.fingerprint
    assert (first.fingerprint or "").endswith("+5")
    with pytest.raises(UsageError, match="only etag or mtime"):
        fingerprinter("sha256", storage, None)(items[0])
