"""Fakes at the outer edges: an in-memory Redis and a clock that a test moves by hand."""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import fakeredis
import pytest
import structlog
from moto import mock_aws

from contract.broker.ledger import Ledger
from contract.broker.uploads import Uploads
from contract.job import Job
from contract.kinds.recognition import RecognitionParameters
from contract.settings import Settings
from contract.source import Source
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace


@dataclass
class Clock:
    """Unix seconds that stand still until told otherwise."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake_server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def fake_redis(fake_server: fakeredis.FakeServer) -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(server=fake_server, decode_responses=True)


@pytest.fixture
def uploads(fake_server: fakeredis.FakeServer, clock: Clock) -> Uploads:
    return Uploads(fakeredis.FakeRedis(server=fake_server), "trace-ocr", clock)


@pytest.fixture
def ledger(fake_redis: fakeredis.FakeRedis, clock: Clock) -> Ledger:
    return Ledger(fake_redis, "trace-ocr", clock)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings in a folder without a settings file."""
    monkeypatch.chdir(tmp_path)
    return Settings(allowed_roots=(str(tmp_path),))


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings)


@pytest.fixture
def workspace(tmp_path: Path, storage: Storage) -> Workspace:
    return open_workspace(str(tmp_path / "out"), storage)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job over a folder, two items to a chunk, not yet planned."""
    return Job(
        id="crops-1",
        parameters=RecognitionParameters(recognition_batch_size=4),
        source=Source(type="folder", uri=str(tmp_path / "crops")),
        chunk_size=2,
        created_at=1_000,
    )


@dataclass(frozen=True)
class MockBucket:
    """A bucket of moto's, in this process or behind its server."""

    name: str
    client: Any

    def uri(self, key: str) -> str:
        """Return the URI of a key."""
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes = b"x") -> str:
        """Store an object; return its URI."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return self.uri(key)

    def keys(self) -> list[str]:
        """Return the keys of every object."""
        answer = self.client.list_objects_v2(Bucket=self.name)
        return [entry["Key"] for entry in answer.get("Contents", [])]


@pytest.fixture(scope="session")
def s3_client() -> Any:
    """One client for all tests: making one takes as long as fifty tests."""
    return boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test-secret"
    )


@pytest.fixture
def s3_bucket(s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockBucket]:
    """Given an empty bucket, and a product that reaches it."""
    monkeypatch.setattr("contract.storage.s3.make_client", lambda settings: s3_client)
    # It opens connections of its own, which moto does not catch within this process.
    monkeypatch.setattr("contract.storage.s3.fast_reader", lambda client, on_s3: None)
    with mock_aws():
        s3_client.create_bucket(Bucket="bucket")
        yield MockBucket("bucket", s3_client)


@pytest.fixture(scope="session")
def served_s3_client(s3_server: str) -> Any:
    """One client of the real endpoint, for all tests."""
    return boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )


@pytest.fixture
def served_bucket(s3_server: str, served_s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> MockBucket:
    """Given an empty bucket behind a real endpoint, and settings that lead there."""
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "TRACE_OCR_S3_ENDPOINT_URL": s3_server,
        "TRACE_OCR_S3_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid.uuid4().hex[:8]}"
    served_s3_client.create_bucket(Bucket=name)
    return MockBucket(name, served_s3_client)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Given a test that configures logging: what it set up ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
