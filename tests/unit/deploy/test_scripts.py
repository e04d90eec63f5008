"""The scripts within the images: the health check, and the preparation of storage."""

import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import boto3
import pytest
from moto import mock_aws

from producer.api.security.access import OPEN_PATHS
from tests.unit.deploy.deployment import DEPLOY
from worker.monitoring.ready import ReadyFile


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / "docker" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


healthcheck = load("healthcheck")
storage = load("storage")


class Answering(BaseHTTPRequestHandler):
    """Says 200 to what is ready and 503 to the rest."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/ready", "/healthcheck") else 503)
        self.end_headers()
        self.wfile.write(b"why not")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def running(proc: Path, *processes: list[str]) -> Path:
    """Return a folder that looks as /proc does while some processes run."""
    for number, arguments in enumerate(processes, start=1):
        (proc / str(number)).mkdir(parents=True)
        (proc / str(number) / "cmdline").write_bytes("\0".join([*arguments, ""]).encode())
    return proc


@pytest.mark.parametrize(
    ("command", "variable"), [("api", "TRACE_OCR_API_PORT"), ("flower", "TRACE_OCR_FLOWER_PORT")]
)
def test_a_command_that_serves_is_well_while_it_answers(command: str, variable: str, port: int) -> None:
    assert healthcheck.problem_of(command, {variable: str(port)}) == ""
    assert "no answer" in healthcheck.problem_of(command, {variable: "1"})


def test_an_api_that_is_not_ready_is_not_well_and_says_why(port: int) -> None:
    assert healthcheck.answer_of(f"http://127.0.0.1:{port}/health") == "status 503: why not"


def test_the_api_answers_the_check_without_a_key() -> None:
    assert healthcheck.PAGES["api"][2] in OPEN_PATHS


def test_a_worker_is_well_while_a_process_of_its_says_that_it_serves(tmp_path: Path) -> None:
    environment = {"TRACE_OCR_READY_FOLDER": str(tmp_path / "ready")}
    file = ReadyFile(environment["TRACE_OCR_READY_FOLDER"])
    file.touch()
    assert healthcheck.problem_of("worker", environment) == "no process serves"

    file.begin()
    file.touch()
    assert healthcheck.problem_of("worker", environment) == ""

    long_ago = time.time() - 2 * healthcheck.FRESH_SECONDS
    os.utime(tmp_path / "ready" / str(os.getpid()), (long_ago, long_ago))
    assert healthcheck.problem_of("worker", environment) == "no process serves"

    file.touch()
    file.remove()
    assert healthcheck.problem_of("worker", environment) == "no process serves"


def test_a_ready_file_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for folder in (str(tmp_path / "file"), None):
        file = ReadyFile(folder)
        file.begin()
        file.touch()


@pytest.mark.parametrize("command", ["control", "submit", ""])
def test_any_other_command_is_well_for_as_long_as_it_runs(command: str) -> None:
    assert healthcheck.problem_of(command, {}) == ""


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["tini", "--", "trace-ocr", "api"], "api"),
        (["/sbin/docker-init", "--", "tini", "--", "trace-ocr", "worker", "--devices", "0"], "worker"),
        (["/opt/trace-ocr/bin/python", "/opt/trace-ocr/bin/trace-ocr", "control"], "control"),
        (["tini", "--", "trace-ocr"], ""),
        (["sh", "-c", "sleep 1"], ""),
    ],
)
def test_the_command_is_that_of_the_containers_first_process(
    arguments: list[str], command: str, tmp_path: Path
) -> None:
    proc = running(tmp_path, arguments)

    assert healthcheck.command_of(healthcheck.arguments_of(proc / "1")) == command


def test_a_process_that_has_just_ended_has_no_arguments(tmp_path: Path) -> None:
    assert healthcheck.arguments_of(tmp_path / "7") == []


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("TRACE_OCR_S3_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.mark.usefixtures("s3")
def test_buckets_are_made() -> None:
    assert storage.main(["buckets", "scans", "results"]) == 0

    buckets = boto3.client("s3").list_buckets()["Buckets"]
    assert {bucket["Name"] for bucket in buckets} == {"scans", "results"}


def test_a_bucket_that_is_there_is_not_asked_for_again() -> None:
    """Given that work-alikes answer 409 where S3, in its first region, grants a bucket twice."""
    client = Mock()
    client.list_buckets.return_value = {"Buckets": [{"Name": "scans"}]}

    storage.make_buckets(client, ["scans", "results"])

    client.create_bucket.assert_called_once_with(Bucket="results")


@pytest.mark.usefixtures("s3")
def test_a_folder_is_copied_with_its_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "inner" / "b c.png").write_bytes(b"b")
    storage.main(["buckets", "scans"])

    assert storage.main(["copy", str(tmp_path), "s3://scans/first"]) == 0

    listed = boto3.client("s3").list_objects_v2(Bucket="scans")["Contents"]
    assert [entry["Key"] for entry in listed] == ["first/a.png", "first/inner/b c.png"]
    assert capsys.readouterr().out == "2 files copied\n"


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    "arguments", [[], ["buckets"], ["copy", "/nowhere", "s3://a/"], ["copy", "/", "a"], ["drop"]]
)
def test_what_is_not_understood_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert storage.main(arguments) == 2
    assert "storage.py buckets NAME" in capsys.readouterr().err
