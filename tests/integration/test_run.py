"""`trace-ocr run`: one machine, nothing installed, the bundled sample."""

import csv
import io
import json
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from lxml import etree

from tests.integration.processes import TRACE_OCR, Run, Start
from tests.schemas import schema

pytestmark = pytest.mark.usefixtures("demo_model")


COPIES = 3
"""Copies of the sample for the run that is stopped: a second or two of work."""


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path: Path) -> tuple[int, int, int]:
    """Return what tells that a file is still the one that was written."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def test_the_sample_is_read_whole_in_order_and_as_well_as_its_card_says(
    trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    done = trace_ocr("run", str(samples / "crops"), "-o", "out", "--chunk-size", "64", "--json")

    assert done.returncode == 0, done.stderr
    labels = json.loads((samples / "labels.json").read_text())
    results = lines(tmp_path / "out/results.jsonl")
    assert [line["id"] for line in results] == sorted(labels)
    card = json.loads((samples / "weights/crnn_mobilenet_v3_small.json").read_text())
    share = sum(labels[str(line["id"])] == line["value"] for line in results) / len(labels)
    assert round(share, 3) == card["measured"]["exact match, 257 sample crops"]
    summary = json.loads(done.stdout)
    assert summary["request_counts"] == {"total": 257, "completed": 257, "failed": 0}
    assert summary["models"][0]["weights_sha256"] == card["sha256"]
    assert set(summary["stage_seconds"]) == {
        "fetch",
        "decode",
        "preprocess",
        "forward",
        "postprocess",
        "write",
    }
    assert (tmp_path / "out/_SUCCESS").exists()


def test_ctrl_c_stops_cleanly_says_how_to_continue_and_the_same_command_continues(
    start: Start, trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    # given crops enough that the run is still at them when the signal comes
    source = tmp_path / "crops"
    source.mkdir()
    for path in (samples / "crops").iterdir():
        for copy in range(COPIES):
            (source / f"{copy}-{path.name}").write_bytes(path.read_bytes())
    planned = len(list(source.iterdir()))
    arguments = ("run", str(source), "-o", "out", "--chunk-size", "8")
    running = start(*arguments, TRACE_OCR_LOG_LEVEL="info")
    running.wait_for("chunk_done")

    running.popen.send_signal(signal.SIGINT)
    status = running.popen.wait(60)
    kept = {path.name: written(path) for path in (tmp_path / "out/parts").iterdir()}
    continued = trace_ocr(*arguments)

    assert status == 130
    assert "run the same command again" in running.wait_for("To continue")[0]
    assert 0 < 8 * len(kept) < planned, "the test is about a job stopped in its middle"
    assert continued.returncode == 0, continued.stderr
    assert {name: written(tmp_path / "out/parts" / name) for name in kept} == kept
    ids = [line["id"] for line in lines(tmp_path / "out/results.jsonl")]
    assert ids == sorted(path.name for path in source.iterdir())


def test_without_weights_the_job_fails_at_once_naming_both_ways_out(
    trace_ocr: Run, few_crops: Path, tmp_path: Path
) -> None:
    unreachable = {"https_proxy": "http://127.0.0.1:9", "DOCTR_CACHE_DIR": str(tmp_path / "cache")}

    done = trace_ocr("run", str(few_crops), "-o", "out", "--recognition-model", "parseq", **unreachable)

    assert done.returncode == 3
    assert "no weights for parseq" in done.stderr
    assert "let this machine reach https://" in done.stderr
    assert "TRACE_OCR_MODEL_STORE" in done.stderr
    assert not (tmp_path / "out/_SUCCESS").exists()
    shown = trace_ocr("status", "out", "--json")
    assert json.loads(shown.stdout)["status"] == "failed"


def test_a_template_reads_the_forms_of_the_sample_into_a_table(
    trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    template = f"template:{samples / 'form-template.json'}"

    done = trace_ocr("run", str(samples / "forms.jsonl"), "-o", "out", "--regions", template)

    assert done.returncode == 0, done.stderr
    with (tmp_path / "out/exports/forms.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["id"] for row in rows] == [
        "pages/invoice.png",
        *(f"pages/ledger.pdf#page={page}" for page in (1, 2, 3)),
    ]
    assert [(row["number"], row["date"], row["total"]) for row in rows] == [
        ("3201", "19/02/2026", "2657.15"),
        ("1533", "14/08/2026", "8382.36"),
        ("8411", "28/09/2026", "6022.12"),
        ("8775", "09/11/2026", "6608.61"),
    ]


def test_texts_are_written_back_into_a_copy_of_the_users_file(
    trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    # given an annotation file with the invoice's words, one of them outside the page
    truth = json.loads((samples / "pages/truth.json").read_text())["invoice.png#1"]
    height, width = truth["dimensions"]
    words = [word for word in truth["words"] if word["value"] in ("3201", "2657.15")]
    boxes = [
        [number * size for number, size in zip(word["geometry"], (width, height) * 2, strict=True)]
        for word in words
    ]
    given = {
        "images": [{"id": 1, "file_name": "invoice.png", "width": width, "height": height}],
        "annotations": [
            {"id": place, "image_id": 1, "category_id": 1, "bbox": [x, y, x_max - x, y_max - y]}
            for place, (x, y, x_max, y_max) in enumerate([*boxes, [5000, 10, 5100, 30]])
        ],
        "categories": [{"id": 1, "name": "word"}],
    }
    (tmp_path / "words.json").write_text(json.dumps(given))

    done = trace_ocr(
        "run", str(samples / "pages"), "-o", "out", "--regions", "coco:words.json", "--write-back"
    )

    assert done.returncode == 1, done.stderr
    copy = json.loads((tmp_path / "out/exports/words.json").read_text())
    first, second, outside = copy["annotations"]
    assert (first["utf8_string"], second["utf8_string"]) == ("3201", "2657.15")
    assert first["attributes"]["confidence"] > 0.5
    assert outside == given["annotations"][2]
    assert lines(tmp_path / "out/errors.jsonl")[0]["error"]["code"] == "bad_region"


def test_the_words_of_page_files_are_read_and_written_back_into_valid_ones(
    trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    # given a PAGE file of an image and one of a PDF, beside a file of another format
    wanted = {"invoice.png": ["3201", "2657.15"], "ledger.pdf": ["1533", "8382.36"]}
    truth = json.loads((samples / "pages/truth.json").read_text())
    given = {name: page_xml(name, truth[f"{name}#1"], words) for name, words in wanted.items()}
    for name, text in given.items():
        written = tmp_path / "boxes" / name.partition(".")[0] / "page.xml"
        written.parent.mkdir(parents=True)
        written.write_text(text)
    (tmp_path / "boxes/mets.xml").write_text("<mets/>")

    done = trace_ocr(
        *("run", str(samples / "pages"), "-o", "out", "--write-back", "--json"),
        *("--regions", "page:boxes", "--level", "word"),
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed_over"] == {"other_format": 1}
    results = {str(line["id"]): line["value"] for line in lines(tmp_path / "out/results.jsonl")}
    for (name, words), page in zip(wanted.items(), ("invoice.png#r=", "ledger.pdf#page=1&r="), strict=True):
        assert [results[f"{page}w{number}"] for number in (0, 1)] == words
        copy = (tmp_path / "out/exports" / name.partition(".")[0] / "page.xml").read_text()
        schema("page-2019-07-15.xsd").assertValid(etree.fromstring(copy.encode()))
        added = re.compile(r'<TextEquiv conf="[01][.][0-9]{4}"><Unicode>(.*?)</Unicode></TextEquiv>')
        assert added.findall(copy) == words
        assert added.sub("", copy) == given[name]


def page_xml(image: str, truth: Any, values: list[str]) -> str:
    """Return a PAGE file with the words of a page that have these values."""
    height, width = truth["dimensions"]
    words = []
    for number, value in enumerate(values):
        found = next(word["geometry"] for word in truth["words"] if word["value"] == value)
        x, y, right, lower = (
            round(share * size) for share, size in zip(found, (width, height) * 2, strict=True)
        )
        points = f"{x},{y} {right},{y} {right},{lower} {x},{lower}"
        words.append(f'<Word id="w{number}"><Coords points="{points}"/></Word>')
    everything = f'<Coords points="0,0 {width},0 {width},{height} 0,{height}"/>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"><Metadata><Creator/>'
        "<Created>2026-03-01T10:00:00</Created><LastChange>2026-03-01T10:00:00</LastChange></Metadata>\n"
        f'<Page imageFilename="{image}" imageWidth="{width}" imageHeight="{height}">\n'
        f'<TextRegion id="r">{everything}<TextLine id="l">{everything}{"".join(words)}</TextLine>'
        "</TextRegion>\n</Page></PcGts>\n"
    )


@dataclass(frozen=True)
class Piped:
    """A run over a manifest from standard input: five crops, and one that is cut short."""

    out: Path
    labels: list[str]
    call: Callable[..., "subprocess.CompletedProcess[str]"]
    done: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def piped(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Piped:
    folder = tmp_path_factory.mktemp("piped")
    crops = sorted((samples / "crops").iterdir(), reverse=True)[:5]
    (folder / "cut.png").write_bytes((samples / "crops/0000.png").read_bytes()[:100])
    manifest = "".join(
        json.dumps({"uri": str(path), "id": f"item {number}", "label": path.stem}) + "\n"
        for number, path in enumerate([*crops, folder / "cut.png"])
    )
    models = ("--model-store", str(samples / "weights"), "--recognition-model", "crnn_mobilenet_v3_small")
    roots = f"{samples},{folder}"

    def call() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                *TRACE_OCR,
                "run",
                "-",
                "-o",
                "out",
                "--json",
                "--devices",
                "cpu",
                "--results",
                "parquet,csv",
                *models,
                "--allowed-roots",
                roots,
            ],
            cwd=folder,
            input=manifest,
            capture_output=True,
            text=True,
            check=False,
        )

    return Piped(folder / "out", [path.stem for path in crops], call, call())


def test_a_manifest_from_standard_input_carries_ids_and_labels_into_the_results(piped: Piped) -> None:
    assert piped.done.returncode == 1, piped.done.stderr
    results = lines(piped.out / "results.jsonl")
    assert [line["id"] for line in results] == [f"item {number}" for number in range(5)]
    assert [line["label"] for line in results] == piped.labels


def test_results_and_errors_are_printed_from_the_workspace_without_redis(
    piped: Piped, trace_ocr: Run
) -> None:
    results, errors = trace_ocr("results", str(piped.out)), trace_ocr("errors", str(piped.out))

    assert results.stdout.encode() == (piped.out / "results.jsonl").read_bytes()
    assert [json.loads(line)["error"]["code"] for line in errors.stdout.splitlines()] == ["truncated"]


def test_results_are_given_out_in_each_format_that_was_asked_for(
    piped: Piped, trace_ocr: Run, tmp_path: Path
) -> None:
    table = trace_ocr("results", str(piped.out), "--format", "csv")
    trace_ocr("results", str(piped.out), "--format", "parquet", "-o", str(tmp_path / "lines.parquet"))
    trace_ocr("errors", str(piped.out), "--format", "parquet", "-o", f"{tmp_path}/")

    read = lines(piped.out / "results.jsonl")
    assert [row["value"] for row in csv.DictReader(io.StringIO(table.stdout))] == [
        one["value"] for one in read
    ]
    columns = pq.read_table(tmp_path / "lines.parquet").to_pylist()
    assert [{name: one for name, one in row.items() if one is not None} for row in columns] == read
    assert pq.read_table(tmp_path / "errors.parquet")["error"].to_pylist()[0]["code"] == "truncated"


def test_running_again_reads_nothing_again(piped: Piped) -> None:
    results = (piped.out / "results.jsonl").stat()

    again = piped.call()

    assert again.returncode == piped.done.returncode, again.stderr
    assert json.loads(again.stdout) == json.loads(piped.done.stdout)
    assert (piped.out / "results.jsonl").stat() == results
