"""What an ocr job writes of each document besides JSONL, through the real path."""

import json
import re
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from doctr.io import Document
from doctr.models import ocr_predictor

from contract.parameters import OcrParameters
from tests.integration.processes import Bucket, Run, Start
from tests.integration.test_pages_parity import (
    MODELS,
    doctrs_predictor,
    pixels_of,
    sample_items,
    store,  # noqa: F401 - a fixture
)

OCR = ("--kind", "ocr", "--detection-model", "linknet_resnet18", "--exports", "txt,hocr,pdf")


@pytest.fixture(autouse=True)
def demo(demo_model: None) -> None:
    """Given the demo's models."""


def without_numbers(hocr: str) -> list[str]:
    """Return each page's element, without what only numbers things."""
    pages = re.findall(r'(<div class="ocr_page".*?</div>)(?=<div class="ocr_page"|</body>)', hocr, re.DOTALL)
    return [re.sub(r' id="[^"]*"|ppageno [0-9]+', "", page) for page in pages]


def words_of(page: Any) -> list[str]:
    return [word.value for block in page.blocks for line in block.lines for word in line.words]


def test_each_document_has_doctrs_text_and_hocr_and_a_pdf_that_can_be_searched(
    trace_ocr: Run,
    samples: Path,
    tmp_path: Path,
    store: Any,  # noqa: F811
) -> None:
    # when a document of three pages lies in two chunks
    done = trace_ocr("run", str(samples / "pages"), *OCR, "-o", "out", "--chunk-size", "2")

    # then every document has each of the three
    assert done.returncode == 0, done.stderr
    exports = tmp_path / "out/exports"
    names = ("invoice.png", "ledger.pdf", "letter.jpg", "receipt.png", "scan.tiff")
    assert sorted(path.name for path in exports.iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("txt", "hocr", "pdf")
    )
    predictor = doctrs_predictor(ocr_predictor, store, OcrParameters(**MODELS))  # type: ignore[arg-type]
    for name in ("ledger.pdf", "scan.tiff", "receipt.png"):
        items = [item for item in sample_items() if item.id.startswith(name)]
        pages = [predictor([pixels_of(item)]).pages[0] for item in items]
        for number, page in enumerate(pages):
            page.page_idx = number
        # and text and hOCR are what docTR makes of the same pages
        assert (exports / f"{name}.txt").read_text() == Document(pages).render() + "\n"
        theirs = [page.export_as_xml(file_title=name)[0].decode() for page in pages]
        hocr = (exports / f"{name}.hocr").read_text()
        assert without_numbers(hocr) == [page for xml in theirs for page in without_numbers(xml)]
        ids = re.findall(r' id="([^"]*)"', hocr)
        assert len(ids) == len(set(ids))
        # and the PDF's pages hold their words, on sheets of the images' size
        document = pypdfium2.PdfDocument(exports / f"{name}.pdf")
        texts = [sheet.get_textpage().get_text_bounded().split() for sheet in document]
        sizes = [tuple(map(round, sheet.get_size())) for sheet in document]
        document.close()
        assert [sorted(words) for words in texts] == [sorted(words_of(page)) for page in pages]
        assert sizes == [(round(page.dimensions[1] / 2), round(page.dimensions[0] / 2)) for page in pages]


def test_pages_that_cannot_be_read_are_left_out_on_s3_and_retried_ones_are_put_in(
    start: Start, trace_ocr: Run, redis_url: str, bucket: Bucket, samples: Path, tmp_path: Path
) -> None:
    # given a document whose second page is larger than workers read
    bucket.upload(samples / "pages", "scans/")
    root = f"s3://{bucket.name}"
    document = pypdfium2.PdfDocument(samples / "pages/ledger.pdf")
    document[1].set_mediabox(0, 0, 4000, 4000)
    document.save(tmp_path / "ledger.pdf")
    document.close()
    bucket.client.upload_file(str(tmp_path / "ledger.pdf"), bucket.name, "scans/ledger.pdf")
    submit = ("submit", f"{root}/scans/ledger.pdf", *OCR, "-o", f"{root}/out", "--chunk-size", "2")
    cluster = {"TRACE_OCR_REDIS_URL": redis_url, "TRACE_OCR_ALLOWED_ROOTS": root}
    start("control", **cluster)
    worker = start("worker", **cluster, TRACE_OCR_MAX_PIXELS="10000000")

    # when
    trace_ocr(*submit, "--job-id", "ledger", **cluster)
    first = trace_ocr("watch", "ledger", **cluster)

    # then its exports hold the other two
    assert first.returncode == 1, first.stderr
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
    pdf = pypdfium2.PdfDocument(bucket.read("out/exports/ledger.pdf.pdf"))
    widths = [round(sheet.get_size()[0]) for sheet in pdf]
    pdf.close()
    assert widths == [600, 4000, 600]


def test_exports_that_cannot_be_made_are_refused(trace_ocr: Run, samples: Path) -> None:
    page = str(samples / "pages/receipt.png")

    turned = trace_ocr("run", page, *OCR, "-o", "out", "--no-assume-straight-pages")
    straightened = trace_ocr("run", page, *OCR, "-o", "out", "--straighten-pages")
    crops = trace_ocr("run", page, "--exports", "txt", "-o", "out")

    assert [done.returncode for done in (turned, straightened, crops)] == [2, 2, 2]
    assert "hocr and pdf hold straight boxes only" in turned.stderr
    assert "pdf shows pages as they came" in straightened.stderr
    assert "--exports: made of ocr jobs, not of recognition" in crops.stderr


def test_turned_pages_have_text(trace_ocr: Run, samples: Path, tmp_path: Path) -> None:
    page = str(samples / "pages/receipt.png")

    done = trace_ocr(
        "run",
        page,
        *OCR[:-1],
        "txt",
        "-o",
        "out",
        "--no-assume-straight-pages",
        "--disable-text-orientation",
    )

    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, (tmp_path / "out/results.jsonl").read_text().splitlines())
    words = [w["value"] for b in line["pages"][0]["blocks"] for part in b["lines"] for w in part["words"]]
    assert sorted((tmp_path / "out/exports/receipt.png.txt").read_text().split()) == sorted(words)
