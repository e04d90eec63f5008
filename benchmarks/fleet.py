"""Many workers, simulated: what a chunk costs Redis, control and a worker process, for 8 to 256 devices.

The broker, control, the API and Flower are real processes. Devices are threads of a few processes, with
kombu's consumers and the product's code for a chunk; a model's forward is a sleep
(`benchmarks/fleet_devices.py`).
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from benchmarks.rows import Row
from contract.broker.depths import oldest_lease_age
from contract.broker.progress import Progress
from contract.job import Job, Plan
from contract.kinds.recognition import RecognitionParameters
from contract.lines import RecognitionLine, encode_lines
from contract.records import Item
from contract.settings import Settings, environment_of
from contract.source import Source
from contract.workspace import Workspace, open_workspace
from producer.api.security.keys import new_key
from producer.control.steer import cancel_job
from producer.local.embedded import embedded_broker
from producer.planning.submit import request_job
from producer.session import Session

SIZES = (8, 64, 256)
"""Simulated devices."""

PROCESSES = 4
"""Processes that the devices are spread over, so that half of them can be killed."""

FORWARD_SECONDS = 4.0
"""Seconds of a chunk's forward: 1,024 crops at the 250 a second of a model for pages, or 4,096 at 1,000."""

ITEMS = 8
"""Items in a chunk: enough for progress to be told, few enough to cost nothing."""

WINDOW_SECONDS = 24.0
"""Seconds of one measurement: some chunks of each device."""

LOST_CHUNKS = 20_000
"""Chunks of the job that Redis loses; a fortieth of them is not read yet."""

LEASE_SECONDS, VISIBILITY_SECONDS = 5, 30
"""Shorter than the defaults of 20 and 120, so that the redelivery is seen within a minute."""

PATIENCE_SECONDS = 300.0
"""Longest wait for anything."""

Details = dict[str, dict[str, Any]]


@dataclass
class Site:
    """The processes besides the devices, and the clients of this one."""

    session: Session
    environment: dict[str, str]
    folder: Path
    control: int
    api: httpx.Client
    flower: httpx.Client

    @contextlib.contextmanager
    def devices(
        self, count: int, seconds: float = FORWARD_SECONDS
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run so many devices in PROCESSES processes; yield those."""
        program = sys.executable, "-m", "benchmarks.fleet_devices"
        with contextlib.ExitStack() as stack:
            processes = []
            for number in range(PROCESSES):
                options = f"gpu{number}-", str(count // PROCESSES), str(seconds)
                log = self.folder / f"devices-{number}.log"
                processes.append(stack.enter_context(_program((*program, *options), self.environment, log)))
            yield processes

    def start(self, name: str, chunks: int, read: int = 0) -> Workspace:
        """Start a planned job, the first chunks of which are read already."""
        workspace = open_workspace(str(self.folder / name), self.session.storage)
        job = Job(
            id=name,
            parameters=RecognitionParameters(),
            source=Source(type="manifest", uri=str(self.folder / "crops.jsonl")),
            chunk_size=ITEMS,
            created_at=int(time.time()),
            plan=Plan(chunks=chunks, items=ITEMS * chunks),
        )
        for kind in ("chunks", "parts", "statistics"):
            Path(workspace.root, kind).mkdir(parents=True, exist_ok=True)
        for chunk in range(chunks):
            items = [Item(f"{chunk}/{number}", f"/crops/{chunk}/{number}") for number in range(ITEMS)]
            Path(workspace.chunk(chunk)).write_bytes(encode_lines(items))
            if chunk < read:
                lines = [RecognitionLine(item.id, item.id, "22.01/2030", 0.98) for item in items]
                Path(workspace.part(chunk)).write_bytes(encode_lines(lines))
        workspace.save_job(job)
        request_job(job, workspace, self.session.ledger)
        return workspace

    def progress(self, job: str) -> Progress:
        """Return the ledger's record; an empty one while Redis does not know the job."""
        return self.session.ledger.load(job) or _NOTHING

    def commands(self) -> Counter[str]:
        """Return how often Redis has run each command, those of scripts included."""
        stats: dict[str, Any] = self.session.client.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()})

    def redis_seconds(self) -> float:
        """Return the processor seconds of Redis."""
        used: dict[str, Any] = self.session.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


_NOTHING = Progress("", "", "validating", 0.0)  # type: ignore[arg-type]


@dataclass
class Look:
    """Counters at one time; processor seconds by who used them."""

    at: float
    chunks: int
    commands: Counter[str]
    seconds: dict[str, float] = field(default_factory=dict)


def fleet(
    folder: Path,
    sizes: tuple[int, ...] = SIZES,
    window: float = WINDOW_SECONDS,
    lost: int = LOST_CHUNKS,
) -> tuple[list[Row], Details]:
    """Return the rows, and each size's figures."""
    figures: dict[int, dict[str, float]] = {}
    with site_in(folder) as site:
        for size in sizes:
            # Enough for the window, and for the time until all devices have begun.
            chunks = int(size * (4 + 2 * window / FORWARD_SECONDS))
            workspace = site.start(f"fleet-{size}", chunks)
            with site.devices(size) as processes:
                figures[size] = _measured(site, workspace, size, processes, window)
                if size == max(sizes):
                    latencies = _latencies(site)
                    redelivered = _killed(site, workspace, size, processes)
                _cancelled(site, workspace)
        with site.devices(max(sizes), FORWARD_SECONDS / 8):
            healed = _flushed(site, lost)
    rows = [*_rows(figures), *latencies, *redelivered, *healed]
    return rows, {"fleet": {str(size): figures[size] for size in figures}}


@contextlib.contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """Run Redis, control, the API and Flower."""
    key, entry = new_key("benchmark", ["read", "submit"])
    with embedded_broker() as url, contextlib.ExitStack() as stack:
        settings = Settings(
            redis_url=SecretStr(url),
            allowed_roots=(str(folder),),
            lease_seconds=LEASE_SECONDS,
            visibility_timeout=VISIBILITY_SECONDS,
        )
        environment = {**os.environ, **environment_of(settings), "TRACE_OCR_LOG_FORMAT": "json"}
        environment |= {"TRACE_OCR_API_KEYS": entry, "TRACE_OCR_FLOWER_DATABASE": str(folder / "flower.db")}
        environment |= {"FLOWER_UNAUTHENTICATED_API": "true"}
        pids = {}
        for name, options in {
            "control": (),
            "api": ("--api-port", "0"),
            "flower": ("--flower-port", "0"),
        }.items():
            command = (sys.executable, "-m", "producer.cli.main", name, *options)
            pids[name] = stack.enter_context(_program(command, environment, folder / f"{name}.log")).pid
        api = _found(folder / "api.log", r"Uvicorn running on (http://[0-9.:]+)")
        port = _found(folder / "flower.log", r'"port": ?([0-9]+)')
        http = httpx.Client(base_url=api, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        flower = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        yield Site(Session(settings), environment, folder, pids["control"], http, flower)


@contextlib.contextmanager
def _program(
    command: tuple[str, ...], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def _found(log: Path, pattern: str) -> str:
    return _until(
        lambda: (found := re.search(pattern, log.read_text())) and found[1], f"{log} has no {pattern}"
    )


def _until(ask: Callable[[], Any], complaint: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise TimeoutError(complaint)


def _processor_seconds(pid: int) -> float:
    """Return the processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _look(site: Site, job: str, processes: list[subprocess.Popen[bytes]]) -> Look:
    seconds = {
        "redis": site.redis_seconds(),
        "control": _processor_seconds(site.control),
        "workers": sum(_processor_seconds(process.pid) for process in processes),
    }
    return Look(time.perf_counter(), site.progress(job).chunks_done, site.commands(), seconds)


def _measured(
    site: Site, workspace: Workspace, size: int, processes: list[subprocess.Popen[bytes]], window: float
) -> dict[str, float]:
    """Return the figures of a window in which all devices read."""
    job = workspace.require_job().id
    _until(lambda: site.progress(job).chunks_done >= size, f"{size} devices do not read")
    before, oldest = _look(site, job, processes), 0.0
    while time.perf_counter() < before.at + window:
        time.sleep(1.0)
        oldest = max(oldest, oldest_lease_age(site.session.client, time.time()))
    after = _look(site, job, processes)
    chunks, seconds = max(after.chunks - before.chunks, 1), after.at - before.at
    used = {name: after.seconds[name] - before.seconds[name] for name in after.seconds}
    return {
        "chunks_per_second": chunks / seconds,
        "share_of_devices": chunks / seconds * FORWARD_SECONDS / size,
        "commands_per_chunk": (after.commands - before.commands).total() / chunks,
        "commands_per_second": (after.commands - before.commands).total() / seconds,
        **{f"{name}_ms_per_chunk": 1000 * used[name] / chunks for name in used},
        **{f"{name}_cores": used[name] / seconds for name in used},
        "oldest_lease_seconds": oldest,
    }


def _latencies(site: Site) -> list[Row]:
    """Return how long the API and Flower take to answer about all workers."""
    rows = []
    for title, client, path, most in (
        ("/metrics", site.api, "/metrics", 5_000),
        ("/health", site.api, "/health", 1_000),
        ("/workers", site.api, "/workers", 2_000),
        ("Flower's page of workers", site.flower, "/workers?json=1", 2_000),
    ):
        took = []
        for _ in range(3):
            started = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(1000 * (time.perf_counter() - started))
        rows.append(Row(f"{title}, all devices reading", statistics.median(took), "ms", most, at_most=True))
    return rows


def _killed(
    site: Site, workspace: Workspace, size: int, processes: list[subprocess.Popen[bytes]]
) -> list[Row]:
    """Kill half of the processes; return when their chunks were read, and what the job then holds."""
    job = workspace.require_job().id
    names = tuple(f"gpu{number}-" for number in range(PROCESSES // 2))
    held = {run.chunk for run in site.progress(job).running if run.worker.startswith(names)}
    for process in processes[: PROCESSES // 2]:
        process.kill()
    started = time.perf_counter()
    _until(lambda: held <= site.session.ledger.done(job), "what dead workers held is not read")
    seconds = time.perf_counter() - started
    return [
        Row(
            f"half of {size} devices killed: their {len(held)} chunks read by others after",
            seconds,
            "s",
            VISIBILITY_SECONDS + 10 + 2 * PROCESSES * FORWARD_SECONDS,
            at_most=True,
        )
    ]


def _cancelled(site: Site, workspace: Workspace) -> None:
    """Check that each part of a job is whole, and end it."""
    for chunk in workspace.part_numbers():
        lines = [json.loads(line)["id"] for line in workspace.lines(workspace.part(chunk))]
        assert lines == [f"{chunk}/{number}" for number in range(ITEMS)], f"chunk {chunk} holds {lines}"
    if not workspace.store.exists(workspace.success):
        cancel_job(workspace.require_job(), workspace, site.session.ledger)


def _flushed(site: Site, chunks: int) -> list[Row]:
    """Empty Redis in the middle of a job; return when its counts were right again, and when it ended."""
    read = chunks - chunks // 40
    workspace = site.start("lost", chunks, read)
    _until(lambda: site.progress("lost").chunks_done > read, "the job is not read")
    done = site.progress("lost").chunks_done
    site.session.client.flushall()
    started = time.perf_counter()
    _until(lambda: site.progress("lost").chunks_done >= done, "the job is not restored")
    restored = time.perf_counter() - started
    _until(lambda: workspace.store.exists(workspace.success), "the job does not end")
    ids = [json.loads(line)["id"] for line in Path(workspace.results).read_bytes().splitlines()]
    wrong = ITEMS * chunks - len(ids), len(ids) - len(set(ids))
    return [
        Row(f"FLUSHALL with {chunks:,} chunks: counts restored after", restored, "s", 60, at_most=True),
        Row("the same: items lost", wrong[0], "", 0, at_most=True),
        Row("the same: items duplicated", wrong[1], "", 0, at_most=True),
    ]


def _rows(figures: dict[int, dict[str, float]]) -> Iterator[Row]:
    few, many = min(figures), max(figures)
    for size, of_size in figures.items():
        yield Row(f"{size} devices: chunks a second", of_size["chunks_per_second"], "")
        yield Row(f"{size} devices: share of the time that they read", of_size["share_of_devices"], "", 0.9)
        yield Row(f"{size} devices: Redis commands a chunk, those of scripts included",
                  of_size["commands_per_chunk"], "")  # fmt: skip
        for name in ("redis", "control", "workers"):
            yield Row(f"{size} devices: processor of {name}", of_size[f"{name}_ms_per_chunk"], "ms/chunk")
        yield Row(f"{size} devices: control", 100 * of_size["control_cores"], "% of a core", 50, at_most=True)
        lease = of_size["oldest_lease_seconds"]
        yield Row(f"{size} devices: oldest lease", lease, "s", VISIBILITY_SECONDS / 2, at_most=True)
    for name, title in (("commands_per_chunk", "Redis commands"), ("redis_ms_per_chunk", "Redis' processor"),
                        ("workers_ms_per_chunk", "workers' processor"),
                        ("control_ms_per_chunk", "control's processor")):  # fmt: skip
        growth = figures[many][name] / max(figures[few][name], 1e-9)
        yield Row(f"{title} a chunk, {many} devices over {few}", growth, "", 1.25, at_most=True)
