"""The HTTP API with everything behind it, as an operator starts it: api, control, worker, Redis, S3."""

import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import httpx

from producer.api.security.keys import new_key
from tests.conftest import SAMPLES
from tests.integration.processes import TRACE_OCR, Bucket, Process
from trace_ocr import Client

SHORT_TIMES = {
    "TRACE_OCR_RECONCILE_SECONDS": "1",
    "TRACE_OCR_VISIBILITY_TIMEOUT": "4",
    "TRACE_OCR_LEASE_SECONDS": "1",
    "TRACE_OCR_SHUTDOWN_GRACE_SECONDS": "1",
}
"""Times that an operator sets in minutes, in seconds."""


@dataclass
class Service:
    """Running processes that share a Redis, the bundled model and allowed roots; `url` is the first API's."""

    redis_url: str
    root: Path
    bucket: Bucket
    environment: dict[str, str]
    read_key: str
    submit_key: str
    key: str
    url: str = ""
    processes: list[Process] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> Process:
        """Start a command beside the others; it ends with them."""
        popen = subprocess.Popen(
            [*TRACE_OCR, *arguments],
            env={**self.environment, **environment},
            cwd=self.root,
            process_group=0,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(Process(popen))
        return self.processes[-1]

    def start_api(self, **environment: str) -> str:
        """Start an API on a free port; return its URL once it answers."""
        process = self.start("api", "--api-port", "0", **environment)
        line = process.wait_for("Uvicorn running on")[0]
        found = re.search(r"http://[0-9.]+:[0-9]+", line)
        assert found
        return found[0]

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [*TRACE_OCR, *arguments],
            env={**self.environment, **environment},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def client(self, key: str | None = None) -> Client:
        """Return the product's client, with the key that may do everything unless told otherwise."""
        return Client(self.url, key or self.key)

    def http(self, key: str | None = None, url: str | None = None) -> httpx.Client:
        """Return a plain HTTP client, without a key unless one is given."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=url or self.url, headers=headers, timeout=90)

    def log(self) -> str:
        """Return what all processes have logged so far."""
        return "".join(line for process in self.processes for line in process.lines)

    def folder(self, name: str = "") -> Path:
        """Return the path of a folder below the allowed roots that is not there yet."""
        return self.root / (name or f"folder-{uuid.uuid4().hex[:8]}")

    def crops(self, count: int, *, first: int = 0) -> Path:
        """Return a new folder with some of the sample crops."""
        folder = self.folder()
        folder.mkdir()
        for path in sorted((SAMPLES / "crops").iterdir())[first : first + count]:
            (folder / path.name).write_bytes(path.read_bytes())
        return folder


@contextmanager
def running_service(redis_url: str, s3_url: str, root: Path) -> Iterator[Service]:
    """Yield a service whose API, control and worker are up; stop all of it at the end."""
    keys = {
        scopes: new_key("-".join(scopes), scopes) for scopes in (("read",), ("submit",), ("read", "submit"))
    }
    bucket = _new_bucket(s3_url)
    environment = {
        **_clean(os.environ),
        **bucket.environment,
        **SHORT_TIMES,
        "TRACE_OCR_REDIS_URL": redis_url,
        "TRACE_OCR_ALLOWED_ROOTS": f"{root},s3://{bucket.name}/",
        "TRACE_OCR_MODEL_STORE": str(SAMPLES / "weights"),
        "TRACE_OCR_RECOGNITION_MODEL": "crnn_mobilenet_v3_small",
        "TRACE_OCR_DEVICES": "cpu",
        "TRACE_OCR_READY_FOLDER": f"{root}-ready",
        "TRACE_OCR_LOG_FORMAT": "json",
        "TRACE_OCR_API_KEYS": ",".join(entry for _, entry in keys.values()),
    }
    read, submit, both = (key for key, _ in keys.values())
    service = Service(redis_url, root, bucket, environment, read, submit, both)
    try:
        worker, control = service.start("worker"), service.start("control")
        service.url = service.start_api()
        worker.wait_for("worker_started")
        assert control.popen.poll() is None, control.lines
        # Uploads are refused until a worker has reported itself.
        until(lambda: service.http().get("/health").status_code == 200)
        yield service
    finally:
        for process in reversed(service.processes):
            if process.popen.poll() is None:
                process.stop()


def until(condition: Callable[[], object], timeout: float = 60) -> None:
    """Look until the condition holds: for what other processes do without telling anybody."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {condition}"
        time.sleep(0.1)


def lines(data: bytes) -> list[dict[str, object]]:
    """Return the lines of a JSONL file, decoded."""
    return [json.loads(line) for line in data.splitlines()]


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(("TRACE_OCR_", "AWS_"))}


def _new_bucket(s3_url: str) -> Bucket:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "TRACE_OCR_S3_ENDPOINT_URL": s3_url,
        "TRACE_OCR_S3_REGION": "us-east-1",
        "TRACE_OCR_S3_PATH_STYLE": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=s3_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    name = f"test-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client, environment)
