"""Page jobs through the real path: `trace-ocr`, Redis, a worker process, the demo models."""

import json
from pathlib import Path
from typing import Any

import pytest
from doctr.models import ocr_predictor

from contract.parameters import OcrParameters
from contract.records import encode_line
from tests.integration.processes import Bucket, Run, Start
from tests.integration.test_pages_parity import (
    MODELS,
    doctrs_predictor,
    pixels_of,
    sample_items,
    store,  # noqa: F401 - a fixture
)
from tests.unit.documents import encrypted_pdf, pdf, tiff
from tools.recall import recall_of
from worker.page_lines import ocr_line

OCR = ("--kind", "ocr", "--detection-model", "linknet_resnet18")

Line = dict[str, Any]


@pytest.fixture(autouse=True)
def demo(demo_model: None) -> None:
    """Given the demo's models."""


def lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestSamplePages:
    def test_all_are_read_as_well_as_doctr_reads_them(
        self,
        trace_ocr: Run,
        samples: Path,
        tmp_path: Path,
        store: Any,  # noqa: F811
    ) -> None:
        done = trace_ocr("run", str(samples / "pages"), *OCR, "-o", "out", "--json")

        assert done.returncode == 0, done.stderr
        results = lines(tmp_path / "out/results.jsonl")
        items = sorted(sample_items(), key=lambda item: item.id)
        assert [line["id"] for line in results] == [item.id for item in items]
        assert [(line["name"], line["page"]) for line in results][1:4] == [
            ("ledger.pdf", n) for n in (1, 2, 3)
        ]
        truth = json.loads((samples / "pages/truth.json").read_text())
        parameters = OcrParameters(**MODELS)  # type: ignore[arg-type]
        predictor = doctrs_predictor(ocr_predictor, store, parameters)
        pages = [predictor([pixels_of(item)]).pages[0] for item in items]
        theirs = [
            json.loads(encode_line(ocr_line(page, item, Path(item.uri).name, None)))
            for page, item in zip(pages, items, strict=True)
        ]
        ours, doctrs = recall_of(results, truth), recall_of(theirs, truth)
        assert ours == doctrs
        assert ours["words read right, recall"] > 0.9

    def test_the_summary_names_both_models_and_every_stage(
        self, trace_ocr: Run, samples: Path, tmp_path: Path
    ) -> None:
        done = trace_ocr("run", str(samples / "pages/receipt.png"), *OCR, "-o", "out", "--json")

        summary = json.loads(done.stdout)
        assert (summary["kind"], summary["request_counts"]["completed"]) == ("ocr", 1)
        assert [model["architecture"] for model in summary["models"]] == list(MODELS.values())
        assert {"detect", "crop", "forward"} <= set(summary["stage_seconds"])
        assert summary["parameters"]["pdf_resolution"] == 144

    @pytest.mark.parametrize(("kind", "key"), [("detection", "bounding_boxes"), ("kie", "extracted_fields")])
    def test_the_other_kinds_give_their_own_shape(
        self, kind: str, key: str, trace_ocr: Run, samples: Path, tmp_path: Path
    ) -> None:
        source = samples / "pages/receipt.png"
        done = trace_ocr("run", str(source), "--kind", kind, *OCR[2:], "-o", "out", "--json")

        assert done.returncode == 0, done.stderr
        (line,) = lines(tmp_path / "out/results.jsonl")
        assert line[key]
        assert json.loads(done.stdout)["batch_fill"] > 0


class TestManyPages:
    def test_a_document_is_split_over_chunks_on_s3(
        self, trace_ocr: Run, bucket: Bucket, samples: Path, tmp_path: Path
    ) -> None:
        bucket.upload(samples / "pages", "scans/")
        root = f"s3://{bucket.name}"

        done = trace_ocr("run", f"{root}/scans/ledger.pdf", *OCR, "-o", f"{root}/out", "--chunk-size", "2")

        assert done.returncode == 0, done.stderr
        results = [json.loads(line) for line in bucket.read("out/results.jsonl").splitlines()]
        assert [line["id"] for line in results] == [f"ledger.pdf#page={page}" for page in (1, 2, 3)]
        assert len(bucket.read("out/chunks/000001.jsonl").splitlines()) == 1
        # and can be looked at
        viewed = trace_ocr("view", f"{root}/out", "ledger.pdf", "-o", "ledger.html")
        assert viewed.returncode == 0, viewed.stderr
        html = (tmp_path / "ledger.html").read_text()
        assert (html.count("data:image/jpeg"), html.count(">INVOICE</text>")) == (3, 3)

    def test_the_resolution_is_a_parameter(self, trace_ocr: Run, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(pdf((300, 200)))

        done = trace_ocr("run", "a.pdf", *OCR, "--pdf-resolution", "72", "-o", "out")

        assert done.returncode == 0, done.stderr
        assert lines(tmp_path / "out/results.jsonl")[0]["dimensions"] == [200, 300]


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
        done = trace_ocr("run", str(folder), *OCR, "-o", "out", "--max-pixels", "10000000")

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


class TestUsage:
    def test_a_flag_of_another_kind_is_refused(self, trace_ocr: Run, few_crops: Path) -> None:
        done = trace_ocr("run", str(few_crops), "-o", "out", "--detection-batch-size", "4")

        assert done.returncode == 2
        assert "detection_batch_size: no parameter of recognition jobs, which take" in done.stderr

    @pytest.mark.parametrize(
        ("flag", "value", "said"),
        [
            ("--detection-model", "yolo", "db_resnet50"),
            ("--binary-threshold", "2", "less than or equal to 1"),
            ("--detection-batch-size", "0", "greater than or equal to 1"),
            ("--pdf-resolution", "5000", "less than or equal to 1200"),
        ],
    )
    def test_values_are_checked_and_the_message_names_what_is_allowed(
        self, flag: str, value: str, said: str, trace_ocr: Run, samples: Path
    ) -> None:
        done = trace_ocr("run", str(samples / "pages"), "--kind", "ocr", "-o", "out", flag, value)

        assert done.returncode == 2
        assert said in done.stderr


class TestCluster:
    def test_pages_go_through_a_cluster_and_its_status_tells(
        self, start: Start, trace_ocr: Run, redis_url: str, samples: Path, tmp_path: Path
    ) -> None:
        environment = {"TRACE_OCR_REDIS_URL": redis_url, "TRACE_OCR_ALLOWED_ROOTS": f"{samples},{tmp_path}"}
        start("control", **environment)
        start("worker", **environment)

        submitted = trace_ocr("submit", str(samples / "pages"), *OCR, "-o", "out", "--json", **environment)
        job = json.loads(submitted.stdout)
        watched = trace_ocr("watch", job["id"], **environment)

        assert (job["items"], watched.returncode) == (8, 0), watched.stderr
        assert len(lines(tmp_path / "out/results.jsonl")) == 8
