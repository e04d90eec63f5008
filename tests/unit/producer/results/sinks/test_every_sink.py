"""The acceptance tests of every result format: complete files or none, idempotent, only files it names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pikepdf
import pytest

from contract.checks import Checks
from contract.errors import ErrorCode, JobError
from contract.job import Job, Plan
from contract.kinds import KINDS
from contract.lines import (
    Block,
    CompareLine,
    ErrorLine,
    Estimate,
    Failure,
    ModelReading,
    OcrLine,
    PageExport,
    PageText,
    RecognitionLine,
    TextLine,
    Word,
    encode_line,
    encode_lines,
)
from contract.records import Item
from contract.region import region_of
from contract.settings import Settings
from contract.source import Regions, Source
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results.sinks import FORMATS, JSONL, RESULTS, REVIEW, SINKS, sinks_of
from producer.results.sinks.base import Access, MergedLine, Sink, SinkContext

ITEMS = [Item(f"b.pdf#page={page}", "/scans/b.pdf", page=page) for page in (1, 2)] + [
    Item("c.png", "/scans/c.png")
]
REGIONS = [
    Item(f"{image}#r={name}", f"/scans/{image}", region=region_of([1, 2, 30, 40], name=name))
    for image, name in (("b.png", "1"), ("b.png", "2"), ("c.png", "1"))
]
REGION_SINKS = {"forms": "template", "write_back": "labelme"}
"""Sinks for jobs whose items are regions, each with a format of their files."""

COMPARED = ("crnn_vgg16_bn", "parseq")
FAILURE = Failure(ErrorCode.TRUNCATED, "cut")


def result(kind: str, item: Item) -> Any:
    """Return a result of a kind."""
    if kind == "compare":
        readings = tuple(ModelReading(model, model[0], 0.5) for model in COMPARED)
        return CompareLine(item.id, "b.pdf", readings, "c")
    if kind == "recognition":
        return RecognitionLine(item.id, "b.pdf", "text", 0.5)
    box = (0.0, 0.0, 1.0, 1.0)
    words = (Word("text", box, 0.8, 0.9, Estimate()),)
    text = PageText((Block(box, 0.8, (TextLine(box, 0.8, words),)),))
    return OcrLine(item.id, "b.pdf", item.page or 1, Estimate(), Estimate(), (10, 10), (text,))


@pytest.fixture(params=SINKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def items(name: str) -> list[Item]:
    return REGIONS if name in REGION_SINKS else ITEMS


@pytest.fixture
def lines(kind: str, items: list[Item]) -> list[MergedLine]:
    """Given two results and an error."""
    failed = ErrorLine(items[2].id, items[2].uri, FAILURE, 1)
    results = (MergedLine(encode_line(result(kind, item)).strip(), None, 0) for item in items[:2])
    return [*results, MergedLine(encode_line(failed).strip(), FAILURE, 0)]


@pytest.fixture
def sink(name: str) -> Sink:
    return SINKS[name]


@pytest.fixture
def kind(sink: Sink) -> str:
    """A kind that can write the format."""
    return sorted(sink.kinds)[0] if sink.kinds else "recognition"


@pytest.fixture(params=["local", "s3"])
def workspace(
    request: pytest.FixtureRequest,
    storage: Storage,
    tmp_path: Any,
    s3_bucket: Any,
    items: list[Item],
    lines: list[MergedLine],
) -> Workspace:
    """Given the chunk, the part and the page exports of two pages and an image."""
    root = str(tmp_path / "out") if request.param == "local" else "s3://bucket/out"
    workspace = open_workspace(root, storage)
    workspace.store.replace(workspace.chunk(0), encode_lines(items))
    workspace.store.replace(workspace.part(0), b"".join(one.line + b"\n" for one in lines))
    pages = [PageExport(item.id, item.id, f"<html><body>{item.id}</body></html>") for item in ITEMS[:2]]
    workspace.store.replace(workspace.page_exports(0), encode_lines(pages))
    with pikepdf.new() as document:
        for _ in pages:
            document.add_blank_page(page_size=(100, 100))
        document.save(tmp_path / "pages.pdf")
    workspace.store.replace(workspace.page_pdfs(0), (tmp_path / "pages.pdf").read_bytes())
    return workspace


@pytest.fixture
def source(name: str, tmp_path: Path) -> Source:
    """Given the files of the regions, if the items are regions."""
    if name not in REGION_SINKS:
        return Source(type="folder", uri="/scans")
    folder = tmp_path / "regions"
    folder.mkdir()
    shape = {"label": "line", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    for image, count in (("b.png", 2), ("c.png", 1)):
        content = {"imagePath": image, "shapes": [shape] * count}
        (folder / f"{image}.json").write_bytes(encode_line(content))
    regions = Regions(format=REGION_SINKS[name], uri=f"{folder}/")
    return Source(type="folder", uri="/scans", regions=regions)


@pytest.fixture
def access(storage: Storage, settings: Settings) -> Access:
    return Access(storage, settings)


@pytest.fixture
def job(name: str, kind: str, source: Source) -> Job:
    return Job(
        id="job-1",
        kind=kind,
        parameters=KINDS[kind].parameters(),
        exports=(name,) if name in (*FORMATS, *RESULTS[1:]) else (),
        checks=Checks(min_confidence=0.9 if name == REVIEW else None),
        source=source,
        chunk_size=3,
        created_at=1_000,
        plan=Plan(chunks=1, items=3),
    )


def write(sink: Sink, job: Job, workspace: Workspace, access: Access, lines: Iterable[MergedLine]) -> None:
    with sink.open(SinkContext(job, workspace, access=access)) as write_line:
        for line in lines:
            write_line(line)


def written(sink: Sink, job: Job, workspace: Workspace) -> dict[str, bytes]:
    """Return the existing files among those that the format names."""
    named = list(sink.paths(job, workspace))
    return {uri: workspace.store.read(uri, 1 << 20) for uri in named if workspace.store.exists(uri)}


def files(workspace: Workspace) -> set[str]:
    return {uri for uri, _ in workspace.store.objects(workspace.root)}


def test_it_writes_only_files_that_it_names(
    sink: Sink, job: Job, workspace: Workspace, access: Access, lines: list[MergedLine]
) -> None:
    before = files(workspace)

    write(sink, job, workspace, access, lines)

    assert files(workspace) - before == set(written(sink, job, workspace)) != set()


def test_an_interrupted_merge_leaves_no_file(
    sink: Sink, job: Job, workspace: Workspace, access: Access, lines: list[MergedLine]
) -> None:
    before = files(workspace)

    def cut_off() -> None:
        with sink.open(SinkContext(job, workspace, access=access)) as write_line:
            write_line(lines[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()

    assert files(workspace) == before


def test_merging_again_gives_the_same_bytes(
    sink: Sink, job: Job, workspace: Workspace, access: Access, lines: list[MergedLine]
) -> None:
    write(sink, job, workspace, access, lines)
    first = written(sink, job, workspace)
    write(sink, job, workspace, access, lines)
    again = written(sink, job, workspace)

    assert first == again != {}


@pytest.mark.parametrize("failed", [0, 1])
def test_a_job_without_results_gets_no_broken_file(
    failed: int,
    name: str,
    sink: Sink,
    job: Job,
    workspace: Workspace,
    access: Access,
    lines: list[MergedLine],
) -> None:
    write(sink, job, workspace, access, lines[2:][:failed])

    data = b"".join(written(sink, job, workspace).values())
    if name == "comparison":
        assert b'"read": 0' in data
    elif name == "order":
        assert b'"runs":[]' in data
    elif name in (*REGION_SINKS, *RESULTS[1:]):
        assert data
        assert b"text" not in data
    else:
        assert data == (lines[2].line + b"\n" if failed and sink is SINKS[JSONL] else b"")


def test_a_job_of_a_newer_version_is_refused_with_what_is_known(job: Job) -> None:
    with pytest.raises(JobError, match="exports orc, which this version does not know: it knows txt"):
        sinks_of(job.model_copy(update={"exports": ("orc",)}))


def test_it_accepts_a_job_with_default_parameters(sink: Sink, job: Job) -> None:
    sink.check(job)


def test_its_kinds_are_kinds(sink: Sink) -> None:
    assert sink.kinds is None or sink.kinds <= set(KINDS)
