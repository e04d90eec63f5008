"""Page jobs through the real path: `trace-ocr`, Redis, a worker process, the demo models."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from doctr.io import Document
from lxml import etree

from contract.lines import encode_line
from tests.integration.pages.doctrs import MODELS, sample_items
from tests.integration.processes import TRACE_OCR, Bucket, Run, Start
from tests.schemas import schema
from tests.unit.documents import encrypted_pdf, pdf, tiff
from tools.recall import recall_of
from worker.kinds.page_lines import ocr_line

OCR = ("--kind", "ocr", "--detection-model", "linknet_resnet18")

DOCUMENTS = ("invoice.png", "ledger.pdf", "letter.jpg", "receipt.png", "scan.tiff")

Line = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A job that was run: its workspace and its summary."""

    out: Path
    summary: dict[str, Any]


@pytest.fixture(autouse=True)
def demo(demo_model: None) -> None:
    """Given the demo's models."""


def lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_numbers(hocr: str) -> list[str]:
    """Return each page's element, without what only numbers things."""
    pages = re.findall(r'(<div class="ocr_page".*?</div>)(?=<div class="ocr_page"|</body>)', hocr, re.DOTALL)
    return [re.sub(r' id="[^"]*"|ppageno [0-9]+', "", page) for page in pages]


def pages_of(name: str, pages: dict[str, Any]) -> list[Any]:
    return [page for identity, page in pages.items() if identity.partition("#page=")[0] == name]


def words_of_page(page: Any) -> list[dict[str, Any]]:
    return [word.export() for block in page.blocks for line in block.lines for word in line.words]


@pytest.fixture(scope="module")
def done(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The sample pages read once, with exports, in chunks so small that a document lies in two."""
    out = tmp_path_factory.mktemp("sample") / "out"
    options = (*OCR, "-o", str(out), "--chunk-size", "2", "--exports", "txt,hocr,pdf,alto,page", "--json")
    models = ("--model-store", str(samples / "weights"), "--recognition-model", MODELS["recognition_model"])
    run = subprocess.run(
        [*TRACE_OCR, "run", str(samples / "pages"), *options, *models, "--devices", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return Done(out, json.loads(run.stdout))


class TestSamplePages:
    def test_all_are_read_as_well_as_doctr_reads_them(
        self, done: Done, doctrs: dict[str, Any], samples: Path
    ) -> None:
        results = lines(done.out / "results.jsonl")
        items = sorted(sample_items(), key=lambda item: item.id)

        assert [line["id"] for line in results] == list(doctrs)
        named = [(line["name"], line["page"]) for line in results]
        assert named[1:4] == [("ledger.pdf", page) for page in (1, 2, 3)]
        truth = json.loads((samples / "pages/truth.json").read_text())
        theirs = [json.loads(encode_line(ocr_line(doctrs[item.id], item, None))) for item in items]
        recall = recall_of(results, truth)
        assert recall == recall_of(theirs, truth)
        assert recall["words read right, recall"] > 0.9

    def test_the_summary_names_both_models_and_every_stage(self, done: Done) -> None:
        summary = done.summary

        assert (summary["kind"], summary["request_counts"]["completed"]) == ("ocr", 8)
        assert [model["architecture"] for model in summary["models"]] == list(MODELS.values())
        assert {"detect", "crop", "forward", "export"} <= set(summary["stage_seconds"])
        assert summary["parameters"]["pdf_resolution"] == 144

    def test_each_document_has_doctrs_text_and_hocr(self, done: Done, doctrs: dict[str, Any]) -> None:
        exports = done.out / "exports"

        suffixes = ("txt", "hocr", "pdf", "alto.xml")
        assert sorted(path.name for path in exports.iterdir()) == sorted(
            [f"{name}.{suffix}" for name in DOCUMENTS for suffix in suffixes]
            + [f"{identity}.page.xml" for identity in doctrs]
        )
        for name in DOCUMENTS:
            pages = pages_of(name, doctrs)
            assert (exports / f"{name}.txt").read_text() == Document(pages).render() + "\n"
            theirs = [page.export_as_xml(file_title=name)[0].decode() for page in pages]
            hocr = (exports / f"{name}.hocr").read_text()
            assert without_numbers(hocr) == [page for xml in theirs for page in without_numbers(xml)]
            ids = re.findall(r' id="([^"]*)"', hocr)
            assert len(ids) == len(set(ids))

    def test_each_document_is_valid_alto_and_each_page_valid_page_xml_with_doctrs_words(
        self, done: Done, doctrs: dict[str, Any]
    ) -> None:
        alto, page_xml = schema("alto-4-2.xsd"), schema("page-2019-07-15.xsd")
        for name in DOCUMENTS:
            root = etree.parse(done.out / f"exports/{name}.alto.xml")
            alto.assertValid(root)
            words = [word["value"] for page in pages_of(name, doctrs) for word in words_of_page(page)]
            assert root.xpath("//*[local-name()='String']/@CONTENT") == words
        for identity, page in doctrs.items():
            root = etree.parse(done.out / f"exports/{identity}.page.xml")
            page_xml.assertValid(root)
            read = root.xpath("//*[local-name()='Word']/*/*[local-name()='Unicode']/text()")
            assert read == [word["value"] for word in words_of_page(page)]

    def test_each_document_can_be_searched_on_sheets_of_its_size(
        self, done: Done, doctrs: dict[str, Any]
    ) -> None:
        for name in DOCUMENTS:
            pages = pages_of(name, doctrs)
            with pypdfium2.PdfDocument(done.out / f"exports/{name}.pdf") as document:
                texts = [sheet.get_textpage().get_text_bounded().split() for sheet in document]
                sizes = [tuple(map(round, sheet.get_size())) for sheet in document]
            words = [sorted(word["value"] for word in words_of_page(page)) for page in pages]
            assert [sorted(found) for found in texts] == words
            # 144 dots per inch are two pixels per point
            assert sizes == [(round(page.dimensions[1] / 2), round(page.dimensions[0] / 2)) for page in pages]


class TestManyPages:
    def test_a_document_is_split_over_chunks_and_a_page_retried_stands_in_its_place(
        self, start: Start, trace_ocr: Run, redis_url: str, bucket: Bucket, samples: Path, tmp_path: Path
    ) -> None:
        # given a document whose second page is larger than workers read
        bucket.upload(samples / "pages", "scans/")
        root = f"s3://{bucket.name}"
        with pypdfium2.PdfDocument(samples / "pages/ledger.pdf") as document:
            document[1].set_mediabox(0, 0, 4000, 4000)
            document.save(tmp_path / "ledger.pdf")
        bucket.client.upload_file(str(tmp_path / "ledger.pdf"), bucket.name, "scans/ledger.pdf")
        options = (*OCR, "--exports", "hocr,pdf", "--chunk-size", "2", "--job-id", "ledger", "--json")
        cluster = {"TRACE_OCR_REDIS_URL": redis_url, "TRACE_OCR_ALLOWED_ROOTS": root}
        start("control", **cluster)
        worker = start("worker", **cluster, TRACE_OCR_MAX_PIXELS="10000000")

        # when
        submitted = trace_ocr("submit", f"{root}/scans/ledger.pdf", "-o", f"{root}/out", *options, **cluster)
        first = trace_ocr("watch", "ledger", **cluster)

        # then its exports hold the other two
        assert json.loads(submitted.stdout)["items"] == 3, submitted.stderr
        assert first.returncode == 1, first.stderr
        assert len(bucket.read("out/chunks/000001.jsonl").splitlines()) == 1
        assert len(without_numbers(bucket.read("out/exports/ledger.pdf.hocr").decode())) == 2

        # when it may be read after all
        worker.stop()
        start("worker", **cluster)
        trace_ocr("retry-errors", "ledger", **cluster)
        again = trace_ocr("watch", "ledger", **cluster)

        # then it stands in its place
        assert again.returncode == 0, again.stderr
        hocr = bucket.read("out/exports/ledger.pdf.hocr").decode()
        assert re.findall("ppageno ([0-9]+)", hocr) == ["0", "1", "2"]
        with pypdfium2.PdfDocument(bucket.read("out/exports/ledger.pdf.pdf")) as exported:
            assert [round(sheet.get_size()[0]) for sheet in exported] == [600, 4000, 600]
        # and can be looked at
        viewed = trace_ocr("view", f"{root}/out", "ledger.pdf", "-o", "ledger.html")
        assert viewed.returncode == 0, viewed.stderr
        html = (tmp_path / "ledger.html").read_text()
        assert html.count("data:image/jpeg") == 3
        assert html.count(">INVOICE</text>") >= 2


class TestBrokenDocuments:
    def test_the_good_pages_are_read_and_each_bad_one_is_one_error_line(
        self, trace_ocr: Run, samples: Path, tmp_path: Path
    ) -> None:
        # given a folder with a good page and everything that is wrong with others
        folder = tmp_path / "scans"
        folder.mkdir()
        whole = (samples / "pages/scan.tiff").read_bytes()
        files = {
            "absurd.pdf": pdf((100, 100), (14_000, 14_000)),
            "cut.tiff": whole[: len(whole) // 2],
            "empty.pdf": b"",
            "encrypted.pdf": encrypted_pdf(),
            "garbage.pdf": b"%PDF-1.7\n" + bytes(range(256)) * 9,
            "mixed.tiff": tiff((300, 200), (80, 400)),
            "no-pages.pdf": pdf(),
            "xref.pdf": pdf((100, 100)).replace(b"startxref", b"startxxxx"),
        }
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / "good.png").write_bytes((samples / "pages/receipt.png").read_bytes())

        # when
        limits = ("--max-pixels", "10000000", "--pdf-resolution", "72")
        done = trace_ocr("run", str(folder), *OCR, "-o", "out", *limits)

        # then
        assert done.returncode == 1, done.stderr
        errors = {line["id"]: line["error"]["code"] for line in lines(tmp_path / "out/errors.jsonl")}
        assert errors == {
            "absurd.pdf#page=2": "too_many_pixels",
            "cut.tiff": "damaged_document",
            "empty.pdf": "empty_file",
            "encrypted.pdf": "encrypted",
            "garbage.pdf": "damaged_document",
            "no-pages.pdf": "no_pages",
        }
        read = {line["id"]: line["dimensions"] for line in lines(tmp_path / "out/results.jsonl")}
        # and what only looks broken is read: pages of several sizes; a table that pdfium can mend
        assert read.keys() == {
            "absurd.pdf#page=1",
            "good.png",
            "mixed.tiff#page=1",
            "mixed.tiff#page=2",
            "xref.pdf#page=1",
        }
        assert (read["mixed.tiff#page=1"], read["mixed.tiff#page=2"]) == ([200, 300], [400, 80])
        # and PDFs are rendered at the resolution asked for
        assert read["absurd.pdf#page=1"] == [100, 100]
