"""Several sources of one job: their order, the ids of their items, and the places that workers may read."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from contract.errors import JobError, SourceError, UsageError
from contract.job import Job, roots_of
from contract.source import Selection, Source, uris_in
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.sources.fingerprints import default_changed
from producer.sources.listing import identify_sources, list_source


@pytest.fixture
def scans(tmp_path: Path, s3_bucket: Any) -> Path:
    for name in ("mon/1.png", "mon/2.png", "tue/am/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        s3_bucket.put(f"scans/{name}")
    (tmp_path / "list.csv").write_text("uri,id\nmon/1.png,first\n")
    return tmp_path


def ids(texts: list[str], storage: Storage, **update: object) -> list[str]:
    source = identify_sources(texts).model_copy(update=update)
    return [item.id for item in list_source(source, storage, BytesIO())]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tue", "mon"], ["tue/am/1.png", "mon/1.png", "mon/2.png"]),
        (["mon/2.png", "mon/1.png"], ["2.png", "1.png"]),
        (["mon/1.png", "tue/am/1.png"], ["mon/1.png", "tue/am/1.png"]),
        (["mon", "list.csv"], ["1.png", "2.png", "first"]),
        (["tue", "mon", "list.csv"], ["tue/am/1.png", "mon/1.png", "mon/2.png", "first"]),
    ],
)
def test_ids_start_from_the_folder_that_holds_all_and_manifests_keep_theirs(
    names: list[str], expected: list[str], scans: Path, storage: Storage
) -> None:
    assert ids([str(scans / name) for name in names], storage) == expected


def test_sources_on_disk_and_on_s3_are_read_together(scans: Path, storage: Storage) -> None:
    found = ids([str(scans / "tue"), "s3://bucket/scans/mon/"], storage)

    assert found == [f"{scans}/tue/am/1.png", "s3://bucket/scans/mon/1.png", "s3://bucket/scans/mon/2.png"]


@pytest.mark.parametrize("names", [["mon", "mon"], [".", "mon"], ["list.csv", "list.csv"]])
def test_what_two_sources_hold_is_an_error(names: list[str], scans: Path, storage: Storage) -> None:
    with pytest.raises(SourceError, match="two items of these sources have the id"):
        ids([str(scans / name) for name in names], storage)


def test_globs_are_of_names_in_each_source_and_the_limit_is_of_all(scans: Path, storage: Storage) -> None:
    both = [str(scans / "mon"), str(scans / "tue")]

    assert ids(both, storage, selection=Selection(include=("am/*",))) == ["tue/am/1.png"]
    assert ids(both, storage, selection=Selection(exclude=("/1.*",), limit=1)) == ["mon/2.png"]


def test_workers_read_below_each_of_them_only(scans: Path, job: Job) -> None:
    several = job.model_copy(update={"source": identify_sources([str(scans / "mon"), str(scans / "tue")])})

    roots = roots_of(several, AllowedRoots((str(scans),)))

    assert roots.contain(f"{scans}/mon/1.png")
    assert roots.contain(f"{scans}/tue/am/1.png")
    assert not roots.contain(f"{scans}/list.csv")


def test_with_a_manifest_among_them_they_read_all_that_is_allowed(scans: Path, job: Job) -> None:
    source = identify_sources([str(scans / "mon"), str(scans / "list.csv")])

    roots = roots_of(job.model_copy(update={"source": source}), AllowedRoots((str(scans),)))

    assert roots.contain(f"{scans}/tue/am/1.png")


@pytest.mark.parametrize(
    ("uris", "changed"),
    [(["s3://b/x/", "s3://b/y/"], "etag"), (["{scans}/mon", "s3://b/y/"], "mtime+size")],
)
def test_the_usual_fingerprint_is_one_that_all_have(uris: list[str], changed: str, scans: Path) -> None:
    assert default_changed(uri.format(scans=scans) for uri in uris) == changed


def test_names_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(UsageError, match=r"3 sources .* are too many"):
        identify_sources([f"s3://bucket/{'x' * 2_000}/{number}/" for number in range(3)])


def test_the_uris_of_several_are_found_in_that_of_the_source() -> None:
    assert uris_in(identify_sources(["s3://b/x", "s3://b/y"]).uri) == ("s3://b/x/", "s3://b/y/")
    assert Source(type="folder", uri="/[a]").uris == ("/[a]",)
    with pytest.raises(JobError):
        uris_in("[no JSON")
