"""A small cluster to break: Redis, worker and control as real processes, and the count of what came out."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import redis

from contract.redaction import redacted
from contract.settings import Settings
from contract.storage import Storage
from producer.local.embedded import find_server
from tests.chaos.faulty_s3 import FaultyS3
from tests.chaos.sources import Kind
from tests.integration.processes import Bucket, Process, Run, Start

IN_FLIGHT = 2
"""Chunks that one worker process holds: what one kill may cost in re-runs."""

START_SECONDS = 15


NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A real server on a port of its own that can be killed and started again over the same files.

    Args:
        settings: further lines of its configuration
    """

    def __init__(self, folder: Path, *, append_only: bool, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self.port = free_port()
        self._folder, self._append_only, self._settings = folder, append_only, settings
        folder.mkdir()
        self.start()

    @property
    def url(self) -> str:
        password = self._settings.get("requirepass", "")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            **self._settings,
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([str(find_server()), *words], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError):
                self.client.ping()
                return
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Row:
    """One line of the table that `make chaos` prints."""

    fault: str
    kills: int
    reruns: int
    expected: int
    got: int
    lost: int
    duplicated: int


@dataclass
class Scene:
    """One job over a folder, the processes that work on it, and the faults so far."""

    name: str
    redis: RedisServer
    job: Kind
    workspace: Path
    start_process: Start
    run: Run
    kills: int = 0
    workers: list[Process] = field(default_factory=list)

    @property
    def source(self) -> Path:
        return self.job.folder

    @property
    def expected(self) -> list[str]:
        return list(self.job.items)

    @property
    def worker(self) -> Process:
        return self.workers[-1]

    def start_worker(self, **environment: str) -> Process:
        self.workers.append(self.start_process("worker", **environment))
        return self.worker

    def start_control(self, **environment: str) -> Process:
        return self.start_process("control", **environment)

    @property
    def source_uri(self) -> str:
        return str(self.source / self.job.manifest)

    @property
    def workspace_uri(self) -> str:
        return str(self.workspace)

    def read(self, name: str) -> str:
        """Return a file of the workspace."""
        return (self.workspace / name).read_text()

    def leftovers(self) -> list[str]:
        """Return what killed writers left unfinished."""
        return [str(path) for path in self.workspace.rglob("*.tmp")]

    def submit_arguments(self) -> tuple[str, ...]:
        size = str(self.job.chunk_size)
        named = ("-o", self.workspace_uri, "--job-id", "chaos", "--chunk-size", size)
        return ("submit", self.source_uri, *named, *self.job.options)

    def submit(self, **environment: str) -> None:
        done = self.run(*self.submit_arguments(), **environment)
        assert done.returncode == 0, done.stderr

    def worker_pid(self) -> int:
        """The newest worker process itself, below its launcher."""
        return int(json.loads(self.worker.wait_for("worker_started")[-1])["pid"])

    def signal_worker(self, number: signal.Signals) -> None:
        os.kill(self.worker_pid(), number)
        self.kills += 1

    def kill_worker_three_times(self, chunks: int) -> None:
        """Kill the worker each time that so many more chunks are done, and wait until it is back."""
        for kill in range(1, 4):
            self.wait_for_chunks(chunks * kill)
            self.signal_worker(signal.SIGKILL)
            self.worker.wait_for("worker_started", count=kill + 1)

    def wait_for_chunks(self, count: int) -> None:
        self.worker.wait_for("chunk_done", count=count)

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Wait for what shows in no log; pytest's own time-out is the limit."""
        poll = threading.Event()
        while not happened():
            poll.wait(0.02)

    def finish(self, status: int = 0) -> None:
        """Wait for the job's end; its exit status must be as said."""
        watched = self.run("watch", self.workspace_uri, "--json")
        assert watched.returncode == status, self.report(watched.stderr)

    def report(self, said: str) -> str:
        logs = "".join(line for worker in self.workers for line in worker.lines[-60:])
        return redacted(f"{self.name}: {said}\n{logs}")

    def assert_survived(self, faults: int, failed: int = 0) -> Row:
        """Check each item once, in order, and no more re-runs than faults allow; return the counts."""
        results, errors = self._ids("results.jsonl"), self._ids("errors.jsonl")
        counts = Counter(results + errors)
        lost = len(set(self.expected) - set(counts))
        duplicated = sum(count - 1 for count in counts.values())
        started = [line for worker in self.workers for line in worker.lines if "chunk_started" in line]
        chunks = -(-len(self.expected) // self.job.chunk_size)
        row = Row(
            self.name, self.kills, max(0, len(started) - chunks), len(self.expected), sum(counts.values()),
            lost, duplicated,
        )  # fmt: skip
        assert (lost, duplicated) == (0, 0), row
        assert results == [identity for identity in self.expected if identity in set(results)], row
        assert len(errors) == failed, (row, self.read("errors.jsonl"))
        assert row.reruns <= IN_FLIGHT * (self.kills + faults), row
        assert not self.leftovers(), "the sweep left temporary files"
        summary = json.loads(self.read("summary.json"))
        assert summary["request_counts"] == {
            "total": row.expected, "completed": row.expected - failed, "failed": failed
        }  # fmt: skip
        return row

    def errors(self) -> dict[str, str]:
        """Return the code of every item that ended as an error."""
        lines = map(json.loads, self.read("errors.jsonl").splitlines())
        return {line["id"]: line["error"]["code"] for line in lines}

    def _ids(self, name: str) -> list[str]:
        return [json.loads(line)["id"] for line in self.read(name).splitlines()]


@dataclass(kw_only=True)
class RemoteScene(Scene):
    """The same with source and workspace in a bucket; the job's folder is what was uploaded.

    Args:
        root: the bucket's URI
        network: what the processes reach the bucket through
    """

    root: str
    network: FaultyS3

    @property
    def source_uri(self) -> str:
        return f"{self.root}/source/{self.job.manifest}"

    @property
    def workspace_uri(self) -> str:
        return f"{self.root}/out"

    def read(self, name: str) -> str:
        store = Storage(Settings()).at(self.root)
        return store.read(f"{self.workspace_uri}/{name}", 1 << 24).decode()

    def leftovers(self) -> list[str]:
        """Return nothing: the rule of a bucket removes unfinished uploads."""
        return []


@dataclass(kw_only=True)
class S3Scene(RemoteScene):
    """The same on S3, where unfinished uploads are swept."""

    bucket: Bucket

    def leftovers(self) -> list[str]:
        answer = self.bucket.client.list_multipart_uploads(Bucket=self.bucket.name)
        return [upload["Key"] for upload in answer.get("Uploads", [])]


Record = Callable[[Row], None]
