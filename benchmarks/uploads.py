"""Uploads per second to `/recognition/`, their latency, and the API's memory.

    python -m benchmarks.uploads --clients 50 --seconds 60

Starts a private Redis, worker and API on this machine, with the bundled model. Each client sends one crop,
waits for its text, and sends the next. Exits with 1 if any answer was neither 200 nor 429, or had
another text than the same crop sent alone; if batches did not fill; or if the API's memory grew.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from producer.api.security.keys import new_key
from producer.local.embedded import embedded_broker

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
MODEL = "crnn_mobilenet_v3_small"

TRACE_OCR = (sys.executable, "-m", "producer.cli.main")

PATIENCE_SECONDS = 120.0
"""Longest wait for the processes and their reports; torch alone takes about ten seconds on a busy machine."""

LOOK_SECONDS = 0.2
"""Seconds between two checks while waiting."""

TIMEOUT_SECONDS = 90.0
"""Longest wait for one answer: longer than the API's own."""

CROPS = 64
"""Number of different crops that are sent."""

MIB = 2**20
ALLOWED = {200, 429}


@dataclass(frozen=True)
class Load:
    """The load: concurrent clients, seconds, and seconds of warm-up."""

    clients: int = 50
    seconds: float = 60.0
    warm_up: float = 10.0


@dataclass
class Tally:
    """The answers; latencies in seconds, only of answers with 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0


@dataclass(frozen=True)
class Measurement:
    """One measurement; memory in bytes: at the start, after the warm-up, at the end."""

    tally: Tally
    seconds: float
    mean_batch: float
    memory: tuple[int, int, int]

    @property
    def growth(self) -> int:
        """Bytes by which the API's memory grew after the warm-up."""
        return self.memory[2] - self.memory[1]

    def problems(self, max_growth: int) -> list[str]:
        """Return the problems found; `max_growth` in bytes."""
        found = []
        if not self.tally.latencies:
            found.append("no upload was answered")
        if other := {status: n for status, n in self.tally.statuses.items() if status not in ALLOWED}:
            found.append(f"answers other than 200 and 429, 0 for none: {other}")
        if self.tally.wrong:
            found.append(f"{self.tally.wrong} answers with another text than the same crop alone")
        if self.mean_batch <= 1:
            found.append(f"batches do not fill: {self.mean_batch:.2f} crops in the mean one")
        if self.growth > max_growth:
            found.append(f"the API grew by {self.growth / MIB:.1f} MiB, over {max_growth / MIB:g} MiB")
        return found

    def figures(self) -> dict[str, Any]:
        """Return the figures; latencies in milliseconds, memory in MiB."""
        latencies = sorted(self.tally.latencies) or [0.0]
        return {
            "requests_per_second": round(sum(self.tally.statuses.values()) / self.seconds, 1),
            "latency_p50_ms": round(statistics.median(latencies) * 1000),
            "latency_p95_ms": round(latencies[int(0.95 * (len(latencies) - 1))] * 1000),
            "answers_by_status": dict(sorted(self.tally.statuses.items())),
            "mean_batch": round(self.mean_batch, 1),
            "api_memory_mib": [round(held / MIB, 1) for held in self.memory],
        }


@dataclass(frozen=True)
class Api:
    """The running API: a client with its key, and its process."""

    http: httpx.AsyncClient
    pid: int

    async def read(self, name: str, data: bytes) -> httpx.Response:
        """Send one crop."""
        kind = "image/png" if name.endswith(".png") else "image/jpeg"
        return await self.http.post("/recognition/", files=[("files", (name, data, kind))])

    async def memory(self) -> int:
        """Return the process's resident memory in bytes."""
        ps = await asyncio.create_subprocess_exec(
            "ps", "-o", "rss=", "-p", str(self.pid), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await ps.communicate()
        return int(out) * 1024

    async def batches(self, pieces: float) -> tuple[float, float]:
        """Return the numbers of pieces and batches, once workers have reported that many pieces."""
        complaint = f"the workers do not report the {pieces:g} crops that they have read"
        async for _ in _looks(complaint):
            totals = await self._totals()
            if totals[0] >= pieces:
                return totals
        raise AssertionError("unreachable")

    async def _totals(self) -> tuple[float, float]:
        answer = await self.http.get("/metrics")
        answer.raise_for_status()
        totals: Counter[str] = Counter()
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.labels.get("kind") == "upload":
                    totals[sample.name] += sample.value  # type: ignore[assignment]
        return totals["trace_ocr_batch_pieces_total"], totals["trace_ocr_batches_total"]


async def measure(load: Load) -> Measurement:
    """Start everything, send the load, stop everything; return the measurement."""
    async with _running(load.clients) as api:
        paths = sorted((SAMPLES / "crops").iterdir())[:CROPS]
        crops = {path.name: path.read_bytes() for path in paths}
        texts = {name: _value(await api.read(name, data)) for name, data in crops.items()}
        started, before = await api.memory(), await api.batches(len(texts))
        warmed = await _send(api, crops, texts, load.clients, load.warm_up)
        warm = await api.memory()
        begun = time.perf_counter()
        tally = await _send(api, crops, texts, load.clients, load.seconds)
        seconds = time.perf_counter() - begun
        held = (started, warm, await api.memory())
        after = await api.batches(before[0] + warmed.statuses[200] + tally.statuses[200])
        mean = (after[0] - before[0]) / max(after[1] - before[1], 1)
        return Measurement(tally, seconds, mean, held)


async def _send(
    api: Api, crops: dict[str, bytes], texts: dict[str, str], clients: int, seconds: float
) -> Tally:
    tally, end = Tally(), time.perf_counter() + seconds

    async def one(first: int) -> None:
        for name in itertools.islice(itertools.cycle(crops), first, None):
            if time.perf_counter() >= end:
                return
            begun = time.perf_counter()
            try:
                answer = await api.read(name, crops[name])
            except httpx.TransportError:
                tally.statuses[0] += 1
                continue
            tally.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                tally.latencies.append(time.perf_counter() - begun)
                tally.wrong += _value(answer) != texts[name]
            elif answer.status_code == 429:
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one(number * 7 % len(crops)))
    return tally


def _value(answer: httpx.Response) -> str:
    answer.raise_for_status()
    return str(answer.json()[0]["value"])


@contextlib.asynccontextmanager
async def _running(clients: int) -> AsyncIterator[Api]:
    key, entry = new_key("benchmark", ("read", "submit"))
    with embedded_broker() as redis_url, tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TRACE_OCR_")},
            "TRACE_OCR_REDIS_URL": redis_url,
            "TRACE_OCR_ALLOWED_ROOTS": folder,
            "TRACE_OCR_MODEL_STORE": str(SAMPLES / "weights"),
            "TRACE_OCR_RECOGNITION_MODEL": MODEL,
            "TRACE_OCR_LOG_FORMAT": "json",
            "TRACE_OCR_API_KEYS": entry,
        }
        log = Path(folder, "log")
        async with contextlib.AsyncExitStack() as stack:
            for command in (("worker", "--devices", "cpu"), ("api", "--api-port", "0")):
                process = await stack.enter_async_context(_process(command, environment, log))
            http = httpx.AsyncClient(
                base_url=await _address(log),
                headers={"Authorization": f"Bearer {key}"},
                timeout=TIMEOUT_SECONDS,
                limits=httpx.Limits(max_connections=clients, max_keepalive_connections=clients),
            )
            api = Api(await stack.enter_async_context(http), process.pid)
            await _worker_there(api)
            yield api


@contextlib.asynccontextmanager
async def _process(
    arguments: tuple[str, ...], environment: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *TRACE_OCR, *arguments, env=environment, stdout=stream, stderr=stream, process_group=0
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _address(log: Path) -> str:
    async for _ in _looks("the API does not start: see what `trace-ocr api` says"):
        if found := re.search(r"Uvicorn running on (http://[0-9.:]+)", log.read_text()):
            return found[1]
    raise AssertionError("unreachable")


async def _worker_there(api: Api) -> None:
    async for _ in _looks("no worker has reported itself"):
        workers = (await api.http.get("/workers")).json()["data"]
        if any(worker["role"] == "worker" for worker in workers):
            return


async def _looks(complaint: str) -> AsyncIterator[None]:
    """Yield repeatedly, for one check each time; raises TimeoutError with the complaint at the deadline."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        yield
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError(complaint)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=Load.clients)
    parser.add_argument("--seconds", type=float, default=Load.seconds)
    parser.add_argument("--warm-up", type=float, default=Load.warm_up)
    parser.add_argument(
        "--max-growth", type=float, default=32.0, help="MiB that the API may grow by after the warm-up"
    )
    asked = parser.parse_args()
    measured = asyncio.run(measure(Load(asked.clients, asked.seconds, asked.warm_up)))
    print(json.dumps(measured.figures(), indent=2))
    problems = measured.problems(int(asked.max_growth * MIB))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
