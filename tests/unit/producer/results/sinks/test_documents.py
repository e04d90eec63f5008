"""The workers' exports of pages become exports of documents."""

import contextlib
from pathlib import Path

import pikepdf
import pytest

from contract.errors import JobError, UsageError
from contract.job import Job, Plan, Retry
from contract.kinds import KINDS
from contract.kinds.ocr import OcrParameters
from contract.lines import PageExport, encode_lines
from contract.records import Item
from contract.source import Source
from contract.workspace import Workspace
from producer.results.sinks import SINKS, check_exports, formats_of
from producer.results.sinks.base import MergedLine, SinkContext
from producer.results.sinks.documents import export_uri

EXPORTS = ("txt", "hocr", "pdf")


@pytest.fixture
def job() -> Job:
    """Given an ocr job that exports everything."""
    return Job(
        id="pages-1",
        kind="ocr",
        parameters=OcrParameters(),
        exports=EXPORTS,
        source=Source(type="folder", uri="/scans"),
        chunk_size=2,
        created_at=1_000,
        plan=Plan(chunks=2, items=4),
    )


def write_exports(workspace: Workspace, chunk: int, *ids: str) -> None:
    """Write a chunk and its exports: each page's text is its id, and its sheet is wider for longer ids.

    An id that ends in "#page=" and a number is that of a document's page, unless "image" is in it.
    """
    pages_of = {name: name.partition("#page=")[2] for name in ids if "image" not in name}
    items = [Item(name, "/scans/a", page=int(pages_of.get(name) or 0) or None) for name in ids]
    workspace.store.replace(workspace.chunk(chunk), encode_lines(items))
    workspace.store.replace(workspace.part(chunk), encode_lines([{"id": name} for name in ids]))
    pages = [PageExport(name, name, f"<html><body><div>{name}</div></body></html>") for name in ids]
    workspace.store.replace(workspace.page_exports(chunk), encode_lines(pages))
    with pikepdf.new() as document:
        for name in ids:
            document.add_blank_page(page_size=(100 + len(name), 100))
        Path(workspace.page_pdfs(chunk)).parent.mkdir(exist_ok=True)
        document.save(workspace.page_pdfs(chunk))


def export(job: Job, workspace: Workspace, *pages: tuple[str, int]) -> None:
    context = SinkContext(job, workspace)
    with contextlib.ExitStack() as stack:
        writes = [stack.enter_context(SINKS[name].open(context)) for name in job.exports]
        for identity, chunk in pages:
            for write in writes:
                write(MergedLine(f'{{"id":"{identity}"}}'.encode(), None, chunk))


def text(workspace: Workspace, document: str, kind: str = "txt") -> str:
    return Path(export_uri(workspace, document, kind, EXPORTS)).read_text()


def test_a_documents_pages_are_joined_across_chunks(job: Job, workspace: Workspace) -> None:
    write_exports(workspace, 0, "a.png", "b.pdf#page=1")
    write_exports(workspace, 1, "b.pdf#page=2", "c/d.tiff#page=1")

    export(job, workspace, ("a.png", 0), ("b.pdf#page=1", 0), ("b.pdf#page=2", 1), ("c/d.tiff#page=1", 1))

    assert text(workspace, "a.png") == "a.png\n"
    assert text(workspace, "b.pdf") == "b.pdf#page=1\n\n\n\nb.pdf#page=2\n"
    assert text(workspace, "c/d.tiff") == "c/d.tiff#page=1\n"
    assert text(workspace, "b.pdf", "hocr") == (
        "<html><body><div>b.pdf#page=1</div><div>b.pdf#page=2</div></body></html>"
    )
    with pikepdf.open(export_uri(workspace, "b.pdf", "pdf", EXPORTS)) as document:
        assert len(document.pages) == 2


def test_a_retried_page_keeps_its_place(job: Job, workspace: Workspace) -> None:
    job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})
    write_exports(workspace, 0, "b.pdf#page=1")
    write_exports(workspace, 1, "b.pdf#page=3")
    write_exports(workspace, 2, "b.pdf#page=22")

    export(job, workspace, ("b.pdf#page=1", 0), ("b.pdf#page=22", 2), ("b.pdf#page=3", 1))

    assert text(workspace, "b.pdf").split() == ["b.pdf#page=1", "b.pdf#page=22", "b.pdf#page=3"]
    with pikepdf.open(export_uri(workspace, "b.pdf", "pdf", EXPORTS)) as document:
        assert [int(page.mediabox[2]) for page in document.pages] == [112, 113, 112]


def test_a_page_without_its_workers_export_fails_the_job_with_a_fix(job: Job, workspace: Workspace) -> None:
    write_exports(workspace, 0, "b.pdf#page=1")

    with pytest.raises(JobError, match=r"000000\.jsonl lacks 'b.pdf#page=2': delete that file and the part"):
        export(job, workspace, ("b.pdf#page=1", 0), ("b.pdf#page=2", 0))

    assert not Path(export_uri(workspace, "b.pdf", "txt", EXPORTS)).exists()


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("2026/March/Überweisung 1.pdf", "2026/March/Überweisung 1.pdf"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "%/etc/passwd"),
        ("a/./b", "a/%2E/b"),
        ("a\x00b\n", "a%00b%0A"),
        ("a\x9b\u202eb", "a%C2%9B%E2%80%AEb"),
        ("50%20 of 100%", "50%20 of 100%"),
        ("album.png/a", "album.png/a"),
    ],
)
def test_no_id_leads_out_of_the_folder(identity: str, name: str, workspace: Workspace) -> None:
    assert export_uri(workspace, identity, "txt", EXPORTS) == workspace.path("exports", f"{name}.txt")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a\n", "a%0A"),
        ("a%0A", "a%250A"),
        ("/a", "%/a"),
        ("../a", "%2E%2E/a"),
        ("report.pdf/a", "report%2Epdf/a"),
        ("ü" * 300 + "1", "ü" * 300 + "2"),
        ("a/" * 2_000 + "1", "a/" * 2_000 + "2"),
        ("x" * 4_096, "x" * 4_095 + "y"),
        ("a" * 200, "a" * 201),
    ],
)
def test_no_two_documents_share_a_file_whose_path_every_storage_allows(
    first: str, second: str, workspace: Workspace
) -> None:
    uris = [export_uri(workspace, identity, "hocr", EXPORTS) for identity in (first, second)]

    assert uris[0] != uris[1]
    for uri in uris:
        assert len(uri.removeprefix(workspace.root).encode()) < 600
        # A name becomes longer while its file is being written.
        assert max(len(name.encode()) for name in uri.split("/")) <= 225


@pytest.mark.parametrize("order", [1, -1])
def test_a_document_and_the_folder_of_another_have_different_names(
    order: int, job: Job, workspace: Workspace
) -> None:
    ids = [f"{folder}/annex" for folder in ("report.pdf", "report.TXT", "report.hocr")] + ["report"]
    write_exports(workspace, 0, *ids[::order])

    export(job, workspace, *((identity, 0) for identity in ids[::order]))

    for identity in ids:
        assert text(workspace, identity) == f"{identity}\n"
        assert identity in text(workspace, identity, "hocr")


def test_a_document_with_an_id_of_its_own_is_one_document(job: Job, workspace: Workspace) -> None:
    write_exports(workspace, 0, "invoice-17#page=1", "invoice-17#page=2")
    write_exports(workspace, 1, "invoice-17#page=3", "image#page=1", "image")

    export(
        job,
        workspace,
        *((f"invoice-17#page={page}", page // 3) for page in (1, 2, 3)),
        *(("image#page=1", 1), ("image", 1)),
    )

    assert text(workspace, "invoice-17").split() == [f"invoice-17#page={page}" for page in (1, 2, 3)]
    assert (text(workspace, "image#page=1"), text(workspace, "image")) == ("image#page=1\n", "image\n")
    named = {uri for name in EXPORTS for uri in SINKS[name].paths(job, workspace)}
    assert {uri for uri, _ in workspace.store.objects(workspace.path("exports"))} == named


@pytest.mark.parametrize(
    ("exports", "parameters", "said"),
    [
        (("hocr",), {"assume_straight_pages": False}, "straight boxes only"),
        (("pdf",), {"assume_straight_pages": False}, "straight boxes only"),
        (("pdf",), {"straighten_pages": True}, "original pages"),
    ],
)
def test_impossible_exports_are_refused(
    exports: tuple[str, ...], parameters: dict[str, bool], said: str, job: Job
) -> None:
    wanted = job.model_copy(update={"exports": exports, "parameters": OcrParameters(**parameters)})

    with pytest.raises(UsageError, match=said):
        check_exports(wanted)


def test_possible_exports_are_accepted(job: Job) -> None:
    turned = OcrParameters(assume_straight_pages=False)

    check_exports(job)
    check_exports(job.model_copy(update={"exports": ("txt",), "parameters": turned}))
    check_exports(
        job.model_copy(update={"exports": ("hocr",), "parameters": OcrParameters(straighten_pages=True)})
    )


@pytest.mark.parametrize(
    ("kind", "exports", "said"),
    [
        ("recognition", ("txt",), "recognition jobs cannot write txt, ocr jobs can"),
        ("kie", ("pdf",), "kie jobs cannot write pdf, ocr jobs can"),
        ("ocr", ("docx",), "'docx' is not a format: choose from txt, hocr, pdf"),
    ],
)
def test_a_format_of_another_kind_or_of_none_is_refused(
    kind: str, exports: tuple[str, ...], said: str, job: Job
) -> None:
    wanted = job.model_copy(update={"kind": kind, "parameters": KINDS[kind].parameters(), "exports": exports})

    with pytest.raises(UsageError, match=said):
        check_exports(wanted)


def test_the_deployments_exports_apply_only_to_kinds_that_can_write_them() -> None:
    assert formats_of(("txt", "docx"), "ocr") == ("txt", "docx")
    assert formats_of(("txt", "docx"), "detection") == ("docx",)
