"""Real servers and real processes: Redis, an S3 endpoint, `trace-ocr` as a user starts it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
import redis
from moto.server import ThreadedMotoServer

from producer.embedded import embedded_broker

TRACE_OCR = [sys.executable, "-m", "producer.cli"]
STOP_SECONDS = 30


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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 work-alike on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of the test's own, and the environment that reaches it."""

    name: str
    client: object
    environment: dict[str, str]

    def upload(self, folder: Path, prefix: str) -> None:
        """Put every file below a folder under the prefix."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            key = prefix + path.relative_to(folder).as_posix()
            self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())  # type: ignore[attr-defined]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        answer = self.client.get_object(Bucket=self.name, Key=key)  # type: ignore[attr-defined]
        return bytes(answer["Body"].read())


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


@dataclass
class Process:
    """A long-running `trace-ocr` command; its log is read as it comes, so that tests wait for events."""

    popen: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stderr
        for line in self.popen.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait_for(self, text: str, count: int = 1, timeout: float = 120) -> list[str]:
        """Wait until `count` lines of the log hold the text; return them."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._changed:
            arrived = self._changed.wait_for(lambda: len(found()) >= count, timeout)
        assert arrived, f"no {count} lines with {text!r} in the log:\n{''.join(self.lines)}"
        return found()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status; a second one hurries."""
        for _ in range(2):
            self.popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.popen.wait(STOP_SECONDS)
        self.popen.kill()
        return self.popen.wait()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `trace-ocr` with arguments and extra environment; everything started is stopped at the end."""
    processes: list[Process] = []

    def start_one(*arguments: str, **environment: str) -> Process:
        popen = subprocess.Popen(
            [*TRACE_OCR, *arguments],
            env={**os.environ, "TRACE_OCR_LOG_FORMAT": "json", **environment},
            cwd=tmp_path,
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


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def trace_ocr(tmp_path: Path) -> Run:
    """Run `trace-ocr` to its end, in an empty folder."""

    def run(
        *arguments: str, stdin: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*TRACE_OCR, *arguments],
            env={**os.environ, "PYTHONPATH": "", **environment},
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run


@pytest.fixture
def demo_model(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the bundled checkpoint, on the CPU."""
    monkeypatch.setenv("TRACE_OCR_MODEL_STORE", str(samples / "weights"))
    monkeypatch.setenv("TRACE_OCR_RECOGNITION_MODEL", "crnn_mobilenet_v3_small")
    monkeypatch.setenv("TRACE_OCR_DEVICES", "cpu")
