"""The deployed stack: docker compose over a copy of this tree, and what the tests do to it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from contract.job_status import JobStatus
from trace_ocr import Client

FILES = ("docker-compose.yml", "deploy/try/compose.yml")
TLS = "deploy/try/tls.yml"
PROFILES = ("gpu", "monitoring", "tools")
MODEL = "crnn_mobilenet_v3_small"

WITH_CUDA = pytest.mark.skipif(not os.environ.get("TRY_CUDA"), reason="7 GB: TRY_CUDA=1 make deploy-test")
"""Mark of what needs the CUDA worker's image."""

LONGEST_SECONDS = 600
"""Longest wait for anything but a build."""

T = TypeVar("T")
Completed = subprocess.CompletedProcess[str]


def docker(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = LONGEST_SECONDS,
) -> Completed:
    """Run one command of the engine's client in a folder."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=folder,
        env={**os.environ, "PWD": os.fspath(folder), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{said}"
    return done


def until(what: Callable[[], T | None], why: str, seconds: float = LONGEST_SECONDS) -> T:
    """Return the first true value of a function, which is asked twice a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {why}")


def key_and_entry(printed: str) -> tuple[str, str]:
    """Return the key that `trace-ocr api-key` has printed, and its entry."""
    words = dict(line.split() for line in printed.splitlines())
    return words["key"], words["entry"]


@dataclass
class Stack:
    """The services of docker-compose.yml under names and passwords of their own.

    Args:
        folder: the copy of this tree, which the engine sees
        password: Redis's, '' for none
        files: compose files besides FILES
    """

    folder: Path
    password: str = ""
    files: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        self.flower = ("me", secrets.token_hex(8))
        self.variables |= {
            "REDIS_PASSWORD": self.password,
            "S3_ACCESS_KEY": "try",
            "S3_SECRET_KEY": secrets.token_hex(16),
            "TRACE_OCR_FLOWER_BASIC_AUTH": ":".join(self.flower),
            "GRAFANA_PASSWORD": secrets.token_hex(8),
            "TRACE_OCR_MODEL_STORE": "s3://scans/models/",
            "TRACE_OCR_RECOGNITION_MODEL": MODEL,
        }

    # the engine

    def compose(self, *arguments: str, check: bool = True, timeout: float = LONGEST_SECONDS) -> Completed:
        """Run `docker compose` with this stack's files and variables."""
        files = [word for name in (*FILES, *self.files) for word in ("--file", name)]
        profiles = [word for name in PROFILES for word in ("--profile", name)]
        command = ["compose", *files, *profiles, *arguments]
        return docker(*command, folder=self.folder, environment=self.variables, check=check, timeout=timeout)

    def engine(self, *arguments: str) -> Completed:
        """Run one command of the engine's client."""
        return docker(*arguments, folder=self.folder)

    def start(self) -> None:
        """Start everything in the order of deploy/README.md, and wait until it is healthy."""
        printed = self.cli("api-key", "me", "--scope", "read", "--scope", "submit").stdout
        self.key, self.variables["TRACE_OCR_API_KEYS"] = key_and_entry(printed)
        self.variables["PROMETHEUS_API_KEY"] = self.key
        self.up("redis", "storage")
        self.compose("run", "--rm", "storage-setup")
        self.copy(self.folder / "samples" / "weights", "s3://scans/models/")
        self.up("control", "api", "flower", "worker")

    def up(self, *arguments: str) -> None:
        """Start services, and return once they are healthy."""
        self.compose("up", "--detach", "--wait", "--no-build", "--no-recreate", *arguments)

    def end(self) -> None:
        """Remove the stack with its data."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def cli(self, *arguments: str, check: bool = True) -> Completed:
        """Run one `trace-ocr` in a container of its own."""
        return self.compose("run", "--rm", "cli", *arguments, check=check)

    def copy(self, folder: Path, uri: str) -> None:
        """Copy a folder to the storage."""
        mount = f"{folder}:/copied:ro"
        self.compose("run", "--rm", "--no-deps", "--volume", mount, "storage-setup", "copy", "/copied", uri)

    def containers(self, service: str, *, all_: bool = False) -> list[dict[str, Any]]:
        """Return what the engine says of a service's containers, running ones or all."""
        flags = ["--all"] if all_ else []
        names = self.compose("ps", "--quiet", *flags, service).stdout.split()
        if not names:
            return []
        found: list[dict[str, Any]] = json.loads(docker("inspect", *names, folder=self.folder).stdout)
        return sorted(found, key=lambda container: str(container["Name"]))

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine says of a service's only container."""
        (found,) = self.containers(service)
        return found

    def execute(self, service: str, *command: str, user: str = "", check: bool = True) -> Completed:
        """Run a command in a service's first container."""
        flags = ["--user", user] if user else []
        return self.compose("exec", "--no-TTY", *flags, service, *command, check=check)

    def crash(self, service: str) -> None:
        """End a service's container as a crash does, and wait until the engine has started it again.

        `docker kill` would count as the wish of an operator, after which nothing is restarted.
        """
        before = self.container(service)
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        until(lambda: self._restarts(service) > before["RestartCount"], f"{service} is restarted")

    def _restarts(self, service: str) -> int:
        return max((int(one["RestartCount"]) for one in self.containers(service)), default=-1)

    # jobs

    def client(self) -> Client:
        """Return a client of the stack's API."""
        return Client("http://127.0.0.1:8080", self.key)

    def get(self, path: str) -> httpx.Response:
        """Ask the API."""
        return httpx.get(
            f"http://127.0.0.1:8080{path}", headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )

    def status(self, job: str) -> JobStatus:
        """Return a job's status."""
        with self.client() as client:
            return client.job(job).status()

    def until_done(self, job: str, chunks: int) -> None:
        """Wait until a job is in its middle: some chunks are done, and others are not."""
        status = until(lambda: self._with_done(job, chunks), f"{chunks} chunks of {job} are done")
        assert not status.ended, f"{job} was over too soon"

    def _with_done(self, job: str, chunks: int) -> JobStatus | None:
        status = self.status(job)
        assert status.status != "failed", status.error
        return status if status.chunks.done >= chunks else None

    def lines(self, job: str) -> list[dict[str, Any]]:
        """Wait for a job's end, and return its results."""
        with self.client() as client:
            handle = client.job(job)
            done = handle.wait(timeout=LONGEST_SECONDS, progress=False)
            assert done.status == "completed", done
            return list(handle.results())


def copied(folder: Path, name: str, samples: Path) -> Path:
    """Return a copy of a folder of samples that the engine sees."""
    target = folder / "out" / name
    if not target.exists():
        shutil.copytree(samples, target)
    return target
