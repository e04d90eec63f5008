"""The workers' exports of pages become exports of documents."""

import contextlib
from pathlib import Path

import pikepdf
import pytest

from contract.errors import JobError, UsageError
from contract.job import Job, Plan, Retry, Source
from contract.kinds import KINDS
from contract.kinds.ocr import OcrParameters
from contract.lines import PageExport, encode_lines
from contract.workspace import Workspace
from producer.results.sinks import SINKS, check_exports, formats_of
from producer.results.sinks.base import MergedLine, SinkContext
from producer.results.sinks.documents import export_uri


@pytest.fixture
def job() -> Job:
    """Given an ocr job that exports everything."""
    return Job(
        id="pages-1",
        kind="ocr",
        parameters=OcrParameters(),
        exports=("txt", "hocr", "pdf"),
        source=Source(type="folder", uri="/scans"),
        chunk_size=2,
        created_at=1_000,
        plan=Plan(chunks=2, items=4),
    )


def write_exports(workspace: Workspace, chunk: int, *ids: str) -> None:
    """Write a chunk's exports: each page's text is its id, and its sheet is wider for longer ids."""
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
    return Path(export_uri(workspace, document, kind)).read_text()


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
    with pikepdf.open(export_uri(workspace, "b.pdf", "pdf")) as document:
        assert len(document.pages) == 2


def test_a_retried_page_keeps_its_place(job: Job, workspace: Workspace) -> None:
    job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})
    write_exports(workspace, 0, "b.pdf#page=1")
    write_exports(workspace, 1, "b.pdf#page=3")
    write_exports(workspace, 2, "b.pdf#page=22")

    export(job, workspace, ("b.pdf#page=1", 0), ("b.pdf#page=22", 2), ("b.pdf#page=3", 1))

    assert text(workspace, "b.pdf").split() == ["b.pdf#page=1", "b.pdf#page=22", "b.pdf#page=3"]
    with pikepdf.open(export_uri(workspace, "b.pdf", "pdf")) as document:
        assert [int(page.mediabox[2]) for page in document.pages] == [112, 113, 112]


def test_a_page_without_its_workers_export_fails_the_job_with_a_fix(job: Job, workspace: Workspace) -> None:
    write_exports(workspace, 0, "b.pdf#page=1")

    with pytest.raises(JobError, match=r"000000\.jsonl lacks 'b.pdf#page=2': delete that file and the part"):
        export(job, workspace, ("b.pdf#page=1", 0), ("b.pdf#page=2", 0))

    assert not Path(export_uri(workspace, "b.pdf", "txt")).exists()


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("2026/March/Überweisung 1.pdf", "2026/March/Überweisung 1.pdf"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "%/etc/passwd"),
        ("a/./b", "a/%2E/b"),
        ("a\x00b\n", "a%00b%0A"),
    ],
)
def test_no_id_leads_out_of_the_folder(identity: str, name: str, workspace: Workspace) -> None:
    assert export_uri(workspace, identity, "txt") == workspace.path("exports", f"{name}.txt")


def test_long_names_fit_the_file_system_and_stay_apart(workspace: Workspace) -> None:
    first, second = (Path(export_uri(workspace, "ü" * 300 + end, "hocr")).name for end in ("1.pdf", "2.pdf"))

    assert first != second
    assert max(len(name.encode()) for name in (first, second)) <= 255


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
