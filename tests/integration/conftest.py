"""Real servers and real processes: Redis, an S3 endpoint, `trace-ocr` as a user starts it."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

from producer.local.embedded import embedded_broker
from tests.integration.processes import TRACE_OCR, Bucket, Process, Run, Start, run_to_end

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""No sandbox: tests run as root in containers; the rest keeps the browser from looking for the internet."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "no browser: tools/test-programs.sh installs chromium, or says how"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where tests write the pictures of the docs: into `docs` itself if DOCS_PICTURES names it."""
    return Path(os.environ.get("DOCS_PICTURES", tmp_path))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a real Redis-compatible server."""
    with embedded_broker() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of the server with an empty database."""
    redis.Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "TRACE_OCR_S3_ENDPOINT_URL": s3_server,
        "TRACE_OCR_S3_REGION": "us-east-1",
        "TRACE_OCR_S3_PATH_STYLE": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    name = f"test-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client, environment)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `trace-ocr` with arguments and extra environment; everything started is stopped at the end."""
    processes: list[Process] = []

    def start_one(*arguments: str, **environment: str) -> Process:
        popen = subprocess.Popen(
            [*TRACE_OCR, *arguments],
            env={**os.environ, "TRACE_OCR_LOG_FORMAT": "json", **environment},
            cwd=tmp_path,
            process_group=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(Process(popen))
        return processes[-1]

    yield start_one
    for process in processes:
        if process.popen.poll() is None:
            process.stop()


@pytest.fixture
def trace_ocr(tmp_path: Path) -> Run:
    """Run `trace-ocr` to its end, in an empty folder."""

    def run(
        *arguments: str, stdin: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return run_to_end([*TRACE_OCR, *arguments], {**os.environ, **environment}, tmp_path, stdin)

    return run


@pytest.fixture
def demo_model(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the bundled checkpoint, on the CPU."""
    monkeypatch.setenv("TRACE_OCR_MODEL_STORE", str(samples / "weights"))
    monkeypatch.setenv("TRACE_OCR_RECOGNITION_MODEL", "crnn_mobilenet_v3_small")
    monkeypatch.setenv("TRACE_OCR_DEVICES", "cpu")


@pytest.fixture
def few_crops(samples: Path, tmp_path: Path) -> Path:
    """A folder with the first five sample crops."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for path in sorted((samples / "crops").iterdir())[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
