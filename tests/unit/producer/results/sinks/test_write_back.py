"""The texts of regions go into copies of the files that describe them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from contract.errors import JobError, OutsideAllowedRootsError, UsageError
from contract.job import Job, Plan
from contract.lines import RecognitionLine, encode_line, encode_lines
from contract.records import Item
from contract.settings import Settings
from contract.source import Regions, Sample, Source
from contract.storage import Storage
from contract.workspace import Workspace
from producer.results.sinks import check_exports, files_of
from producer.results.sinks.base import Access, MergedLine, SinkContext
from producer.results.sinks.write_back import SINK
from producer.sources.regions import list_regions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Given two LabelMe files, one of them in a folder, and the scans that they name."""
    for name in ("a.png", "sub/b.png"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        described = tmp_path / "labels" / f"{name.removesuffix('.png')}.json"
        described.parent.mkdir(parents=True, exist_ok=True)
        describe(described, path.name, (1, 20), (30, 40))
    return tmp_path / "labels"


def describe(path: Path, image: str, *edges: tuple[int, int]) -> None:
    shapes = [
        {"label": "line", "shape_type": "rectangle", "points": [[x, x], [y, y]], "description": "old"}
        for x, y in edges
    ]
    path.write_text(json.dumps({"imagePath": image, "shapes": shapes}))


@pytest.fixture
def job(job: Job, tmp_path: Path, folder: Path) -> Job:
    regions = Regions(format="labelme", uri=f"{folder}/")
    source = Source(type="folder", uri=str(tmp_path / "scans"), regions=regions)
    return job.model_copy(
        update={"source": source, "exports": ("write_back",), "plan": Plan(chunks=1, items=4)}
    )


@pytest.fixture
def items(job: Job, storage: Storage, workspace: Workspace) -> list[Item]:
    """Given the planned regions."""
    return plan(job, storage, workspace)


def plan(job: Job, storage: Storage, workspace: Workspace) -> list[Item]:
    items = list(list_regions(job.source, storage, str, lambda: None))  # type: ignore[arg-type, return-value]
    workspace.store.replace(workspace.chunk(0), encode_lines(items))
    return items


@pytest.fixture
def merge(
    job: Job, workspace: Workspace, storage: Storage, settings: Settings
) -> Callable[..., dict[str, int]]:
    """Write what was read, the id of each region, back; return the counts."""

    def run(items: list[Item], job: Job = job, settings: Settings = settings) -> dict[str, int]:
        context = SinkContext(job, workspace, access=Access(storage, settings))
        with SINK.open(context) as write:
            for item in items:
                line = RecognitionLine(item.id, "name", f"read {item.id}", 0.5)
                write(MergedLine(encode_line(line).strip(), None, 0))
        return context.totals.counts

    return run


def texts(workspace: Workspace, name: str) -> list[str]:
    """Return the texts of the shapes in a copy."""
    copy: dict[str, Any] = json.loads(Path(workspace.path("exports", name)).read_bytes())
    return [shape["description"] for shape in copy["shapes"]]


def test_each_file_has_a_copy_with_its_texts_under_its_own_name(
    merge: Callable[..., dict[str, int]], items: list[Item], job: Job, workspace: Workspace
) -> None:
    counts = merge(items)

    assert texts(workspace, "a.json") == ["read a.png#r=1", "read a.png#r=2"]
    assert texts(workspace, "sub/b.json") == ["read sub/b.png#r=1", "read sub/b.png#r=2"]
    assert counts["written_back"] == 4
    assert list(SINK.paths(job, workspace)) == [
        workspace.path("exports", "a.json"),
        workspace.path("exports", "sub/b.json"),
        workspace.written_back,
    ]


def test_regions_without_a_result_stay_as_they_are(
    merge: Callable[..., dict[str, int]], items: list[Item], workspace: Workspace
) -> None:
    merge(items[1:2])

    assert texts(workspace, "a.json") == ["old", "read a.png#r=2"]
    assert texts(workspace, "sub/b.json") == ["old", "old"]


def test_a_region_that_is_another_one_since_gets_no_text_and_the_log_counts_it(
    merge: Callable[..., dict[str, int]], items: list[Item], folder: Path, workspace: Workspace
) -> None:
    # Given a region put before the others, so that their numbers are those of other regions now
    describe(folder / "a.json", "a.png", (5, 9), (1, 20), (30, 40))

    with structlog.testing.capture_logs() as logs:
        merge(items)

    assert texts(workspace, "a.json") == ["old", "old", "old"]
    assert texts(workspace, "sub/b.json") == ["read sub/b.png#r=1", "read sub/b.png#r=2"]
    assert [(log["event"], log["texts"]) for log in logs] == [("texts_not_written_back", 2)]


@pytest.mark.parametrize("content", [None, b'{"imagePath": "a.png", "shapes": ['])
def test_a_file_that_is_gone_or_damaged_since_has_no_copy_and_the_others_have(
    content: bytes | None,
    merge: Callable[..., dict[str, int]],
    items: list[Item],
    folder: Path,
    job: Job,
    workspace: Workspace,
) -> None:
    (folder / "a.json").unlink()
    if content:
        (folder / "a.json").write_bytes(content)

    with structlog.testing.capture_logs() as logs:
        counts = merge(items)

    assert not Path(workspace.path("exports", "a.json")).exists()
    assert texts(workspace, "sub/b.json") == ["read sub/b.png#r=1", "read sub/b.png#r=2"]
    assert counts["written_back"] == 2
    assert logs[-1]["texts"] == 2


def test_a_later_merge_still_knows_the_copies_of_files_that_are_gone(
    merge: Callable[..., dict[str, int]], items: list[Item], folder: Path, job: Job, workspace: Workspace
) -> None:
    merge(items)
    (folder / "a.json").unlink()
    merge(items)

    assert workspace.path("exports", "a.json") in SINK.paths(job, workspace)


def test_a_removal_finds_the_list_of_the_copies_until_the_copies_are_gone(
    merge: Callable[..., dict[str, int]], items: list[Item], job: Job, workspace: Workspace
) -> None:
    merge(items)
    workspace.store.replace(workspace.part(0), b"")

    assert list(files_of(job, workspace))[-3:] == [
        workspace.path("exports"),
        workspace.path("exports", "sub"),
        workspace.path("write_back"),
    ]


def test_one_file_keeps_its_name(
    merge: Callable[..., dict[str, int]], job: Job, folder: Path, storage: Storage, workspace: Workspace
) -> None:
    regions = Regions(format="labelme", uri=str(folder / "sub/b.json"))
    single = job.model_copy(update={"source": job.source.model_copy(update={"regions": regions})})

    merge(plan(single, storage, workspace), single)

    assert texts(workspace, "b.json") == ["read b.png#r=1", "read b.png#r=2"]


def test_files_on_s3_are_copied_and_every_key_becomes_a_file(
    merge: Callable[..., dict[str, int]],
    job: Job,
    folder: Path,
    s3_bucket: Any,
    storage: Storage,
    settings: Settings,
    workspace: Workspace,
) -> None:
    for key, name in (("a.json", "a.json"), ("x//b\n.json", "sub/b.json")):
        s3_bucket.put(f"labels/{key}", (folder / name).read_bytes())
    regions = Regions(format="labelme", uri=s3_bucket.uri("labels/"))
    remote = job.model_copy(update={"source": job.source.model_copy(update={"regions": regions})})
    roots = (*settings.allowed_roots, s3_bucket.uri(""))
    items = plan(remote, storage, workspace)

    counts = merge(items, remote, settings.model_copy(update={"allowed_roots": roots}))

    assert counts["written_back"] == len(items) == 4
    copies = [Path(uri) for uri in SINK.paths(remote, workspace)]
    assert {path.relative_to(workspace.root).as_posix() for path in copies} == {
        "exports/a.json",
        "exports/x/%/b%0A.json",
        "write_back/copies.jsonl",
    }
    assert all(path.is_file() for path in copies)


def test_files_outside_the_allowed_roots_are_not_read(
    merge: Callable[..., dict[str, int]], items: list[Item], job: Job, tmp_path: Path, settings: Settings
) -> None:
    elsewhere = settings.model_copy(update={"allowed_roots": (str(tmp_path / "scans"),)})

    with pytest.raises(OutsideAllowedRootsError, match="labels"):
        merge(items, settings=elsewhere)
    with pytest.raises(OutsideAllowedRootsError, match="labels"):
        merge(items, job.model_copy(update={"roots": (str(tmp_path / "scans"),)}))


def test_without_access_the_merge_fails_with_a_reason(
    items: list[Item], job: Job, workspace: Workspace
) -> None:
    with pytest.raises(JobError, match="may read nothing"), SINK.open(SinkContext(job, workspace)):
        pass


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        (None, "give --regions"),
        (Regions(format="doctr", uri="/labels.json"), "doctr has no place for text"),
        (Regions(format="template", uri="/form.json"), "template has no place for text"),
    ],
)
def test_a_job_whose_regions_have_no_place_for_text_is_refused(
    regions: Regions | None, problem: str, job: Job
) -> None:
    source = Source(type="folder", uri="/scans", regions=regions, sample=Sample(items=1))

    with pytest.raises(UsageError, match=problem):
        check_exports(job.model_copy(update={"source": source}))
