"""`trace-ocr` as users call it: exit statuses, messages, and the origin of its settings."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from contract.architectures import MODEL_TASKS
from contract.checks import Checks
from contract.job import Job
from contract.records import ChunkMessage
from contract.workspace import Workspace
from producer.cli.main import cli, main
from producer.results.merge import merge

pytestmark = pytest.mark.usefixtures("restored_logging", "settings")

Crops = Callable[..., Path]

OCR = ["run", "crops", "-o", "out", "--kind", "ocr"]


@dataclass
class Outcome:
    """The outcome of a call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def trace_ocr(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Call the program in this process, with these arguments and this standard input."""

    def call(*arguments: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["trace-ocr", *arguments])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        with pytest.raises(SystemExit) as raised:
            main()
        captured = capsysbinary.readouterr()
        return Outcome(int(raised.value.code or 0), captured.out.decode(), captured.err.decode())

    return call


@pytest.fixture
def sent(fake_redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch) -> list[tuple[ChunkMessage, str]]:
    """Given a Redis; return the messages sent through it, each with its queue."""
    messages: list[tuple[ChunkMessage, str]] = []
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", "redis://user:hunter2@broker/0")
    monkeypatch.setattr("producer.session.make_redis", lambda settings: fake_redis)
    monkeypatch.setattr(
        "producer.session.send_chunk",
        lambda app, message, kind, queue, total: messages.append((message, queue)),
    )
    return messages


@pytest.fixture
def merged(planned: Job, workspace: Workspace, write_part: Any) -> Job:
    """Given a completed job, one of whose items failed."""
    for number in range(3):
        write_part(number, failed=("0.png",) if number == 0 else ())
    merge(planned, workspace)
    return planned


# usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "\n  run      Read a source on this machine, from start to end.\n"),
        (["api-key", "me"], "Missing option '--scope'. Choose from: read, submit\n"),
        (["submit"], "Missing argument 'SOURCE...'"),
        (["submit", "crops"], "Missing option '-o'"),
        (["fly"], "No such command 'fly'"),
        (["run", "crops", "-o", "out", "--colour", "red"], "No such option '--colour'"),
        (["run", "nowhere", "-o", "out"], "there is no folder, file or manifest nowhere"),
        (["run", "ftp://host/crops", "-o", "out"], "ftp:// is no storage that this version knows"),
        (["run", "crops", "-o", "out", "--job-id", "a b"], "--job-id"),
        (
            ["run", "crops", "-o", "out", "--detection-batch-size", "4"],
            "not a parameter of recognition jobs, which",
        ),
        ([*OCR, "--exports", "hocr", "--no-assume-straight-pages"], "hocr and pdf hold straight boxes only"),
        ([*OCR, "--exports", "pdf", "--straighten-pages"], "pdf shows the original pages"),
        (["run", "crops", "-o", "out", "--exports", "txt"], "recognition jobs cannot write txt"),
        (["run", "crops", "gone.png", "-o", "out"], "there is no folder, file or manifest gone.png"),
        (["run", *["crops"] * 65, "-o", "out"], "give at most 64"),
        (["run", "crops", "-", "-o", "out"], "standard input cannot be one of several sources"),
        (["run", "crops", "-o", "out", "--include", "[z-a]"], "globs are malformed or too many: [z-a]"),
        (["run", "crops", "-o", "out", "--exclude", "{1..2000}.png"], "more than 1,000 globs"),
        (["run", "gone\x1b[2J\u202e.png", "-o", "out"], r"manifest gone\x1b[2J\u202e.png"),
        (["status", "a", "b\x1b[2J"], r"(b\x1b[2J)"),
        (["status", "nowhere"], "neither a job that Redis knows nor a workspace"),
        (["results", "nowhere"], "neither a job that Redis knows nor a workspace"),
    ],
)
def test_wrong_usage_exits_2_with_the_reason(
    arguments: list[str], said: str, trace_ocr: Any, crops: Crops
) -> None:
    crops("a.png")

    outcome = trace_ocr(*arguments)

    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize("command", ["run", "submit", "status", "errors", "pause"])
def test_the_names_of_a_whole_folder_are_not_repeated(command: str, trace_ocr: Any) -> None:
    outcome = trace_ocr(command, *(f"{number:04d}.png" for number in range(1_000)))

    assert outcome.code == 2
    assert len(outcome.err) < 1_000


@pytest.mark.parametrize(
    ("flag", "value", "variable", "allowed"),
    [
        ("--recognition-model", "parseq>master", "TRACE_OCR_RECOGNITION_MODEL", "parseq@0.93"),
        ("--recognition-batch-size", "0", "TRACE_OCR_RECOGNITION_BATCH_SIZE", "greater than or equal to 1"),
        ("--chunk-size", "many", "TRACE_OCR_CHUNK_SIZE", "valid integer"),
        ("--detection-model", "../fast_tiny", "TRACE_OCR_DETECTION_MODEL", "pattern"),
        ("--pdf-resolution", "5000", "TRACE_OCR_PDF_RESOLUTION", "less than or equal to 1200"),
        ("--log-format", "xml", "TRACE_OCR_LOG_FORMAT", "'json'"),
    ],
)
def test_a_value_that_is_not_allowed_exits_2_with_its_variable_and_what_is(
    flag: str, value: str, variable: str, allowed: str, trace_ocr: Any, crops: Crops
) -> None:
    outcome = trace_ocr("submit", str(crops("a.png")), "-o", "out", flag, value)

    assert outcome.code == 2
    assert variable in outcome.err
    assert allowed in outcome.err


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_model_that_does_not_exist_is_refused_with_those_that_do(
    command: str, trace_ocr: Any, crops: Crops, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", "redis://nowhere")
    outcome = trace_ocr(
        command, str(crops("a.png")), "-o", "out", "--recognition-model", "mine",
        "--model-store", str(samples / "weights"),
    )  # fmt: skip

    assert outcome.code == 2
    assert "recognition_model 'mine' is no architecture" in outcome.err
    assert "crnn_mobilenet_v3_small" in outcome.err
    assert "viptr_tiny" in outcome.err
    assert not Path("out").exists()


@pytest.mark.parametrize("name", [*cli.places, "models list", "models check"])
def test_every_command_has_help(name: str, trace_ocr: Any) -> None:
    outcome = trace_ocr(*name.split(), "--help")

    assert outcome.code == 0
    assert f"trace-ocr {name}" in outcome.out


# submit


def test_submit_without_a_broker_says_what_to_set_and_writes_nothing(
    trace_ocr: Any, crops: Crops, tmp_path: Path
) -> None:
    outcome = trace_ocr("submit", str(crops("a.png")), "-o", "out")

    assert outcome.code == 3
    assert "export TRACE_OCR_REDIS_URL" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["status"], ["control"], ["worker"]])
def test_commands_that_need_a_broker_say_what_to_set(command: list[str], trace_ocr: Any) -> None:
    outcome = trace_ocr(*command)

    assert outcome.code == 3
    assert "TRACE_OCR_REDIS_URL" in outcome.err


def test_submit_plans_and_sends_and_prints_the_jobs_id(
    trace_ocr: Any, crops: Crops, sent: Any, tmp_path: Path
) -> None:
    outcome = trace_ocr("submit", str(crops("a.png", "b.png", "c.png")), "-o", "out", "--chunk-size", "2")

    job = json.loads((tmp_path / "out" / "job.json").read_text())
    assert outcome.code == 0
    assert outcome.out == f"{job['id']}\n"
    assert job["plan"] == {"chunks": 2, "items": 3, "passed_over": {}}
    assert sent == [
        (ChunkMessage(job["id"], str(tmp_path / "out"), chunk), "trace-ocr.recognition") for chunk in (0, 1)
    ]


def test_submit_prints_json_for_scripts(trace_ocr: Any, crops: Crops, sent: Any, tmp_path: Path) -> None:
    outcome = trace_ocr("submit", str(crops("a.png")), "-o", "out", "--job-id", "night", "--json")

    assert outcome.json == {
        "id": "night",
        "workspace": str(tmp_path / "out"),
        "chunks": 1,
        "items": 1,
        "passed_over": {},
    }


@pytest.fixture
def page_xml() -> Path:
    """A PAGE file with two words on 0001.png."""
    return Path(__file__).parents[1] / "regions/samples/page.xml"


def test_urgent_work_goes_to_the_urgent_queue(trace_ocr: Any, crops: Crops, sent: Any) -> None:
    trace_ocr("submit", str(crops("a.png")), "-o", "out", "--urgent")

    assert [queue for _, queue in sent] == ["trace-ocr.urgent"]


def test_submit_reads_a_manifest_from_standard_input(trace_ocr: Any, sent: Any, tmp_path: Path) -> None:
    outcome = trace_ocr("submit", "-", "-o", "out", stdin=b"uri,id\na.png,x\n")

    assert outcome.code == 0
    assert json.loads((tmp_path / "out/chunks/000000.jsonl").read_text()) == {
        "id": "x",
        "uri": str(tmp_path / "a.png"),
    }


def test_regions_are_a_part_of_what_a_job_is(
    trace_ocr: Any, crops: Crops, sent: Any, page_xml: Path, tmp_path: Path
) -> None:
    folder = str(crops("0001.png"))
    words = ("--regions", f"page:{page_xml}", "--level", "word")

    assert trace_ocr("submit", folder, "-o", "out", *words).err.startswith("2 items in 1 chunk,")
    again = trace_ocr("submit", folder, "-o", "out", *words[:2])

    first, _ = (tmp_path / "out/chunks/000000.jsonl").read_text().splitlines()
    assert json.loads(first)["id"] == "0001.png#r=w1"
    assert again.code == 2
    assert "regions is " in again.err


def test_write_back_is_an_export_whose_files_control_must_be_able_to_read(
    trace_ocr: Any,
    crops: Crops,
    sent: Any,
    page_xml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (str(crops("0001.png")), "--regions", f"page:{page_xml}", "--write-back")

    trace_ocr("submit", *arguments, "-o", "out")
    monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", str(tmp_path))
    outside = trace_ocr("submit", *arguments, "-o", "out2")

    assert json.loads((tmp_path / "out/job.json").read_text())["exports"] == ["write_back"]
    assert outside.code == 3
    assert "page.xml is outside the allowed roots" in outside.err
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--regions", "excel:x"), "give FORMAT:PATH, with a format of "),
        (("--regions", "page:/no/such"), "there is no folder or file /no/such with regions"),
        (("--level", "word"), "give FORMAT:PATH of those too"),
        (("--regions", "page:.", "--kind", "ocr"), "ocr jobs find the regions of pages themselves"),
        (("--regions", "page:.", "--category", "text"), "have no categories"),
        (("--write-back",), "give --regions"),
        (("--write-back", "--kind", "ocr"), "ocr jobs cannot write write_back"),
        (("--write-back", "--regions", "doctr:."), "doctr has no place for text"),
    ],
)
def test_regions_that_cannot_be_read_are_refused(
    trace_ocr: Any, crops: Crops, sent: Any, arguments: tuple[str, ...], said: str
) -> None:
    for command in ("run", "submit"):
        outcome = trace_ocr(command, str(crops("a.png")), "-o", "out", *arguments)

        assert outcome.code == 2
        assert said in outcome.err


def test_submit_into_a_workspace_with_other_parameters_is_refused(
    trace_ocr: Any, crops: Crops, sent: Any
) -> None:
    folder = str(crops("a.png"))
    trace_ocr("submit", folder, "-o", "out")

    outcome = trace_ocr("submit", folder, "-o", "out", "--recognition-model", "parseq")

    assert outcome.code == 2
    assert "recognition_model is 'crnn_vgg16_bn', not 'parseq'" in outcome.err


def test_an_empty_source_is_an_error_and_not_an_empty_success(
    trace_ocr: Any, crops: Crops, sent: Any, tmp_path: Path
) -> None:
    outcome = trace_ocr("submit", str(crops("notes.txt")), "-o", "out")

    assert outcome.code == 3
    assert "holds no images (passed over: 1 other_extension)" in outcome.err
    assert trace_ocr("status", "out", "--json").json["status"] == "failed"


@pytest.mark.parametrize(
    ("flag", "variable", "in_file", "expected"),
    [
        (None, None, None, "crnn_vgg16_bn"),
        (None, None, "master", "master"),
        (None, "parseq", "master", "parseq"),
        ("vitstr_base", "parseq", "master", "vitstr_base"),
    ],
)
def test_flags_go_before_the_environment_before_the_file_before_defaults(
    flag: str | None,
    variable: str | None,
    in_file: str | None,
    expected: str,
    trace_ocr: Any,
    crops: Crops,
    sent: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if in_file:
        (tmp_path / "trace-ocr.toml").write_text(f'recognition_model = "{in_file}"')
    if variable:
        monkeypatch.setenv("TRACE_OCR_RECOGNITION_MODEL", variable)

    trace_ocr("submit", str(crops("a.png")), "-o", "out", *(["--recognition-model", flag] if flag else []))

    job = json.loads((tmp_path / "out" / "job.json").read_text())
    assert job["parameters"]["recognition_model"] == expected


# reading commands


def test_status_of_a_job_is_json_for_scripts(trace_ocr: Any, merged: Job, workspace: Workspace) -> None:
    outcome = trace_ocr("status", workspace.root, "--json")

    assert outcome.code == 0
    assert outcome.json["id"] == merged.id
    assert outcome.json["request_counts"] == {"total": 5, "completed": 4, "failed": 1}


def test_status_shows_all_jobs_in_redis(trace_ocr: Any, crops: Crops, sent: Any) -> None:
    folder = str(crops("a.png"))
    for name in ("one", "two"):
        trace_ocr("submit", folder, "-o", name, "--job-id", name)

    assert {job["id"] for job in trace_ocr("status", "--json").json} == {"one", "two"}
    assert "one" in trace_ocr("status").out


@pytest.mark.parametrize(("command", "name"), [("results", "results.jsonl"), ("errors", "errors.jsonl")])
def test_merged_lines_are_printed_unchanged(
    command: str, name: str, trace_ocr: Any, merged: Job, workspace: Workspace
) -> None:
    outcome = trace_ocr(command, workspace.root)

    assert outcome.code == 0
    assert outcome.out == Path(workspace.path(name)).read_text()
    assert outcome.out


def test_results_before_the_merge_are_an_error_with_the_jobs_status(
    trace_ocr: Any, planned: Job, workspace: Workspace
) -> None:
    outcome = trace_ocr("results", workspace.root)

    assert (outcome.code, outcome.out) == (3, "")
    assert "crops-1 is in_progress" in outcome.err


@pytest.mark.usefixtures("merged")
def test_watching_an_ended_job_exits_with_its_status(trace_ocr: Any, workspace: Workspace) -> None:
    outcome = trace_ocr("watch", workspace.root, "--json")

    assert outcome.code == 1
    assert outcome.json["request_counts"]["failed"] == 1


@pytest.mark.parametrize(
    ("checks", "code", "status"),
    [
        (Checks(fail_if=("errors>10%",)), 4, 4),
        (Checks(fail_if=("errors>20%",)), 0, 0),
        (Checks(fail_if=("confidence<0.1",)), 1, 0),
        (Checks(min_confidence=0.6, fail_if=("review>99%",)), 4, 4),
    ],
)
def test_a_broken_rule_is_exit_status_4_and_a_rule_on_errors_decides_about_failed_items(
    checks: Checks, code: int, status: int, trace_ocr: Any, merged: Job, workspace: Workspace
) -> None:
    workspace.update_job(lambda job: job.model_copy(update={"checks": checks}))
    merge(workspace.require_job(), workspace)

    watched, looked_at = trace_ocr("watch", workspace.root), trace_ocr("status", workspace.root)

    assert (watched.code, looked_at.code) == (code, status)
    assert ("quality low: " in watched.out) == ("quality low: " in looked_at.out) == (code == 4)


def test_readings_in_doubt_are_printed(trace_ocr: Any, merged: Job, workspace: Workspace) -> None:
    refused = trace_ocr("review", workspace.root)
    workspace.update_job(lambda job: job.model_copy(update={"checks": Checks(min_confidence=0.6)}))
    merge(workspace.require_job(), workspace)

    assert (refused.code, refused.out) == (2, "")
    assert len(trace_ocr("review", workspace.root).out.splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--min-confidence", "high"], "neither a number"),
        (["--min-confidence", "7"], "a number in 0..1"),
        (["--expect", "("], "no regular expression"),
        (["--kind", "detection", "--min-confidence", "0.5"], "detection jobs cannot have it"),
        (["--kind", "ocr", "--expect", "x"], "recognition jobs can"),
        (["--fail-if", "errors"], "is no rule"),
        (["--fail-if", "review>1%"], "needs min_confidence"),
    ],
)
def test_checks_that_cannot_be_used_are_refused(
    flags: list[str], said: str, trace_ocr: Any, crops: Crops, sent: Any
) -> None:
    outcome = trace_ocr("submit", str(crops("a.png")), "-o", "out", *flags)

    assert outcome.code == 2
    assert said in outcome.err


def test_checks_of_the_environment_hold_for_jobs_that_can_have_them(
    trace_ocr: Any, crops: Crops, sent: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACE_OCR_MIN_CONFIDENCE", "0.5")

    for kind in ("recognition", "detection"):
        assert trace_ocr("submit", str(crops("a.png")), "-o", kind, "--kind", kind).code == 0

    found = [json.loads((tmp_path / kind / "job.json").read_text()) for kind in ("recognition", "detection")]
    assert [job["checks"].get("min_confidence") for job in found] == [0.5, None]


@pytest.mark.usefixtures("planned")
def test_watching_a_job_that_failed_exits_3_and_says_why(trace_ocr: Any, workspace: Workspace) -> None:
    workspace.halt("failed", "no weights")

    outcome = trace_ocr("watch", workspace.root)

    assert outcome.code == 3
    assert "job crops-1 failed: no weights" in outcome.err


def test_running_a_job_that_is_completed_only_reports(
    trace_ocr: Any, crops: Crops, planned: Job, workspace: Workspace, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    merge(planned, workspace)

    outcome = trace_ocr(
        *("run", str(crops("a.png")), "-o", workspace.root, "--head", "2"),
        *("--chunk-size", "2", "--recognition-batch-size", "4"),
    )

    assert outcome.code == 0
    assert "5: 5 read, 0 failed" in outcome.out
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()[-2:]] == ["0.png", "1.png"]


def test_models_are_listed_as_json(
    trace_ocr: Any, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))

    entries = trace_ocr("models", "list", "--json", "--model-store", str(samples / "weights")).json

    at_hand = {entry["name"]: entry["weights"] for entry in entries}
    assert set(at_hand) == {*chain(*MODEL_TASKS.values()), "mobilenet-2025"}
    assert at_hand["crnn_mobilenet_v3_small"] == "model store"
    assert at_hand["parseq"] == "download"


# the worker, and failures


def test_the_worker_replaces_this_process_and_gets_secrets_only_in_its_environment(
    trace_ocr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[Any] = []
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", "redis://user:hunter2@broker/0")
    monkeypatch.setattr(os, "execve", lambda *arguments: replaced.extend(arguments))

    trace_ocr("worker", "--devices", "0,1")

    program, arguments, environment = replaced
    assert (program, arguments) == (sys.executable, [sys.executable, "-P", "-m", "worker.app.launcher"])
    assert environment["TRACE_OCR_DEVICES"] == "0,1"
    assert environment["TRACE_OCR_REDIS_URL"] == "redis://user:hunter2@broker/0"


@pytest.mark.parametrize("error", [redis.ConnectionError, RuntimeError])
def test_failures_exit_3_without_a_credential(
    error: type[Exception], trace_ocr: Any, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(settings: object) -> None:
        raise error("redis://user:hunter2@broker/0 is away")

    monkeypatch.setattr("producer.session.make_redis", fail)

    outcome = trace_ocr("status")

    assert outcome.code == 3
    assert "is away" in outcome.err
    assert "hunter2" not in outcome.err


def test_ctrl_c_in_run_says_how_to_continue(
    trace_ocr: Any, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("producer.cli.run.run_job", interrupt)
    monkeypatch.setattr("producer.cli.run.signal.signal", lambda *_: None)
    folder = str(crops("a.png"))

    outcome = trace_ocr("run", folder, "-o", "out")

    assert outcome.code == 130
    assert "out. To continue, run the same command again" in outcome.err


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(("umask", "folder", "file"), [("077", 0o700, 0o600), ("007", 0o770, 0o660)])
def test_a_workspace_has_the_modes_of_the_umask_that_is_set(
    umask: str, folder: int, file: int, trace_ocr: Any, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_OCR_UMASK", umask)
    before = os.umask(0o022)

    try:
        outcome = trace_ocr("submit", str(crops("1.png")), "-o", "out")
    finally:
        os.umask(before)

    assert outcome.code == 0, outcome.err
    modes = {path: path.stat().st_mode & 0o777 for path in (Path("out"), *Path("out").rglob("*"))}
    assert Path("out/chunks/000000.jsonl") in modes
    assert set(modes.values()) == {folder, file}


def test_status_shows_the_jobs_with_a_tag_and_of_a_time(trace_ocr: Any, crops: Crops, sent: Any) -> None:
    folder = str(crops("a.png"))
    for name in ("one", "two"):
        trace_ocr("submit", folder, "-o", name, "--job-id", name, "--tags", f"all,{name}", "--tags", "more")

    def found(*flags: str) -> set[str]:
        return {job["id"] for job in trace_ocr("status", "--json", *flags).json}

    assert found("--tag", "more", "--tag", "two") == {"two"}
    assert found("--tag", "all", "--created-from", "2020-01-01") == {"one", "two"}
    assert found("--created-before", "2020-01-01T00:00+01:00") == set()
    assert found("--tenant", "labs") == set()
    assert found("--tenant", "default") == {"one", "two"}
    assert trace_ocr("status", "--created-from", "yesterday").code == 2
