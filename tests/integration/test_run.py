"""`trace-ocr run`: one machine, nothing installed, the bundled sample."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.processes import Run, Start

pytestmark = pytest.mark.usefixtures("demo_model")


COPIES = 8
"""Copies of the sample for the run that is stopped: some seconds of work."""


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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


def test_running_again_reads_nothing_anew_and_other_parameters_are_refused(
    trace_ocr: Run, few_crops: Path, tmp_path: Path
) -> None:
    first = trace_ocr("run", str(few_crops), "-o", "out", "--json")
    results = (tmp_path / "out/results.jsonl").stat()

    again = trace_ocr("run", str(few_crops), "-o", "out", "--json")
    other = trace_ocr("run", str(few_crops), "-o", "out", "--chunk-size", "7")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (tmp_path / "out/results.jsonl").stat() == results
    assert other.returncode == 2
    assert "chunk_size is 1024, not 7" in other.stderr


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
    kept = {path.name: path.stat() for path in (tmp_path / "out/parts").iterdir()}
    continued = trace_ocr(*arguments)

    assert status == 130
    assert f"trace-ocr run {source} -o out" in running.wait_for("To continue")[0]
    assert 0 < 8 * len(kept) < planned, "the test is about a job stopped in its middle"
    assert continued.returncode == 0, continued.stderr
    assert {name: (tmp_path / "out/parts" / name).stat() for name in kept} == kept
    ids = [line["id"] for line in lines(tmp_path / "out/results.jsonl")]
    assert ids == sorted(path.name for path in source.iterdir())


def test_a_manifest_from_standard_input_carries_ids_and_labels_into_the_results(
    trace_ocr: Run, few_crops: Path, tmp_path: Path
) -> None:
    manifest = "".join(
        json.dumps({"uri": str(path), "id": f"item {number}", "label": path.stem}) + "\n"
        for number, path in enumerate(sorted(few_crops.iterdir(), reverse=True))
    )

    done = trace_ocr("run", "-", "-o", "out", "--allowed-roots", str(few_crops), stdin=manifest)

    assert done.returncode == 0, done.stderr
    results = lines(tmp_path / "out/results.jsonl")
    assert [line["id"] for line in results] == [f"item {number}" for number in range(5)]
    assert [line["label"] for line in results] == sorted((p.stem for p in few_crops.iterdir()), reverse=True)


@pytest.mark.parametrize(
    ("source", "status", "message"),
    [("empty", 3, "holds no images (passed over: 1 other_extension)"), ("missing", 2, "there is no folder")],
)
def test_a_source_with_nothing_to_read_is_an_error(
    trace_ocr: Run, tmp_path: Path, source: str, status: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("no image")

    done = trace_ocr("run", source, "-o", "out")

    assert done.returncode == status
    assert message in done.stderr
    assert not (tmp_path / "out/_SUCCESS").exists()


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


def test_results_and_errors_are_printed_from_the_workspace_without_redis(
    trace_ocr: Run, few_crops: Path, tmp_path: Path
) -> None:
    shutil.copy(few_crops / "0000.png", few_crops / "cut.png")
    (few_crops / "cut.png").write_bytes((few_crops / "cut.png").read_bytes()[:100])

    done = trace_ocr("run", str(few_crops), "-o", "out")
    results, errors = trace_ocr("results", "out"), trace_ocr("errors", "out")

    assert done.returncode == 1
    assert results.stdout.encode() == (tmp_path / "out/results.jsonl").read_bytes()
    assert [json.loads(line)["error"]["code"] for line in errors.stdout.splitlines()] == ["truncated"]
