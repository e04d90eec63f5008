"""The stack with a password for Redis, and with TLS, each with data of its own: a job goes through."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import TLS, Stack

PASSWORD = "0a1b2c3d4e5f"


@pytest.fixture
def alone(stack: Stack, folder: Path) -> Iterator[None]:
    """Given that the other stack is stopped: both have the same names and ports."""
    stack.end()
    yield
    stack.end()


def read_crops(stack: Stack, labels: dict[str, str]) -> None:
    """Run a small job through a stack."""
    stack.copy(stack.folder / "samples" / "crops", "s3://scans/crops/")
    with stack.client() as client:
        job = client.submit("s3://scans/crops/", "s3://results/crops/")
    assert [line["id"] for line in stack.lines(job.id)] == sorted(labels)


def test_redis_with_a_password(folder: Path, alone: None, labels: dict[str, str]) -> None:
    stack = Stack(folder, PASSWORD)
    stack.start()

    read_crops(stack, labels)

    refused = stack.execute("redis", "env", "-u", "REDISCLI_AUTH", "valkey-cli", "ping", check=False)
    assert "NOAUTH" in refused.stdout + refused.stderr
    arguments = stack.execute("redis", "cat", "/proc/1/cmdline").stdout
    assert PASSWORD not in arguments


def test_redis_with_tls(folder: Path, alone: None, labels: dict[str, str]) -> None:
    certificates = make_certificates(folder / "out" / "tls")
    stack = Stack(folder, files=(TLS,), variables={"TLS_FOLDER": os.fspath(certificates)})
    stack.start()

    read_crops(stack, labels)

    plain = stack.execute("redis", "valkey-cli", "-h", "redis", "ping", check=False)
    assert "PONG" not in plain.stdout


def make_certificates(folder: Path) -> Path:
    """Make a certificate authority, and with it a certificate of the host `redis`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "names").write_text("subjectAltName=DNS:redis\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=try -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr",
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names "
        "-out redis.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    for path in folder.iterdir():
        path.chmod(0o644)  # For the containers' users; the key is worth nothing after this test.
    return folder
