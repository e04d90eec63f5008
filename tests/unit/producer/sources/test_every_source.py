"""The acceptance tests of every source: the same items in the same order, lazily, below its root."""

import json
import tarfile
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from contract.errors import InterruptedRunError, SourceError
from contract.source import Sample, Selection, Source
from contract.storage import Storage
from producer.sources import SOURCES
from producer.sources.base import Listing
from producer.sources.listing import identify_source, identify_sources, list_source, root_of

NAMES = ("b/2.png", "a.png", "ü.jpg")


@pytest.fixture
def makers(tmp_path: Path, s3_bucket: Any) -> dict[str, Callable[[], str]]:
    """A small source of each type; every one has an image a.png."""
    folder = tmp_path / "crops"
    for name in (*NAMES, "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        s3_bucket.put(f"crops/{name}")
    (tmp_path / "list.csv").write_text("uri\n" + "".join(f"crops/{name}\n" for name in NAMES) + "\n")
    shard = tmp_path / "crops.tar"
    with tarfile.open(shard, "w") as archive:
        for name in NAMES:
            archive.add(folder / name, name)
    report = {"sourceBucket": "bucket", "destinationBucket": "arn:aws:s3:::reports", "fileFormat": "CSV"}
    report |= {"fileSchema": "Bucket, Key", "files": [{"key": "data/1.csv"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(report))
    (tmp_path / "1.csv").write_text("".join(f'"bucket","{quote_plus(f"crops/{name}")}"\n' for name in NAMES))
    return {
        "inventory": lambda: str(tmp_path / "manifest.json"),
        "folder": lambda: str(folder),
        "prefix": lambda: "s3://bucket/crops/",
        "manifest": lambda: str(tmp_path / "list.csv"),
        "file": lambda: str(folder / "a.png"),
        "shards": lambda: str(shard),
    }


@pytest.fixture(params=SOURCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(name: str, makers: dict[str, Callable[[], str]]) -> Source:
    return identify_source(makers[name]())


def listed(source: Source, storage: Storage) -> Listing:
    return list_source(source, storage, BytesIO())


def test_it_knows_its_own_argument_and_goes_by_its_modules_name(name: str, source: Source) -> None:
    assert source.type == name


def test_it_gives_the_same_items_in_the_same_order_at_every_call(source: Source, storage: Storage) -> None:
    first, second = (list(listed(source, storage)) for _ in range(2))

    assert first == second
    assert len({item.id for item in first}) == len(first) >= 1
    assert "a.png" in {item.name for item in first}


def test_the_items_of_a_confined_source_lie_at_or_below_its_uri(source: Source, storage: Storage) -> None:
    for item in listed(source, storage):
        assert not source.confined or item.uri.startswith(source.uri.rstrip("/"))


def test_relative_names_start_from_a_root_that_holds_the_source(source: Source) -> None:
    assert source.uri.startswith(root_of(source))


def test_nothing_is_read_before_the_first_item_is_asked_for(name: str, storage: Storage) -> None:
    uris = {"prefix": "s3://no-such-bucket/x.png", "shards": "/no/such/x.tar"}
    gone = Source(type=name, uri=uris.get(name, "/no/such/x.png"))
    listing = listed(gone, storage)

    if name != "file":  # whose name is all that it looks at: the item ends as not_found
        with pytest.raises(SourceError, match=r"no.such"):
            list(listing)


def test_it_ends_where_planning_is_stopped(source: Source, storage: Storage) -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(InterruptedRunError):
        list(listed(source, storage).until(stop))


@pytest.mark.parametrize(
    ("selection", "reason"),
    [({"include": ["other/**", "a*.tiff"]}, "not_included"), ({"exclude": ["**"]}, "excluded")],
)
def test_globs_leave_items_out_and_count_them(
    selection: dict[str, list[str]], reason: str, source: Source, storage: Storage
) -> None:
    whole = list(listed(source, storage))

    listing = listed(source.model_copy(update={"selection": Selection.model_validate(selection)}), storage)

    assert list(listing) == []
    assert listing.passed_over[reason] == len(whole)


@pytest.mark.parametrize("update", [{"selection": Selection(limit=1)}, {"sample": Sample(items=1, seed=7)}])
def test_a_limit_and_a_sample_are_of_its_items(
    update: dict[str, object], source: Source, storage: Storage
) -> None:
    whole = list(listed(source, storage))

    found = list(listed(source.model_copy(update=update), storage))

    assert len(found) == 1
    assert found == whole[:1] if "selection" in update else found[0] in whole


def test_it_may_be_one_of_several_sources(
    name: str, source: Source, makers: dict[str, Callable[[], str]], storage: Storage, tmp_path: Path
) -> None:
    other = tmp_path / "others" / "z.png"
    other.parent.mkdir()
    other.touch()

    both = identify_sources([makers[name](), str(other.parent)])

    alone, items = list(listed(source, storage)), list(listed(both, storage))
    assert [item.uri for item in items] == [*(item.uri for item in alone), str(other)]
    assert all(item.id.endswith(one.id) for item, one in zip(items, alone, strict=False))
    assert both.confined is source.confined
    assert Source.model_validate_json(both.model_dump_json(exclude_none=True)) == both


def test_a_type_of_a_newer_version_is_an_error_that_names_those_that_are_known(storage: Storage) -> None:
    with pytest.raises(SourceError, match=r"'lmdb', which this version does not know: it knows manifest"):
        listed(Source(type="lmdb", uri="/data.lmdb"), storage)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"type": "s3", "uri": "s3://b/"}, Source(type="prefix", uri="s3://b/")),
        ({"type": "manifest", "uri": "/a.csv"}, Source(type="manifest", uri="/a.csv", confined=False)),
        ({"type": "folder", "uri": "/a"}, Source(type="folder", uri="/a")),
    ],
)
def test_sources_of_jobs_from_before_the_registry_are_read(written: dict[str, str], read: Source) -> None:
    assert Source.model_validate(written) == read
