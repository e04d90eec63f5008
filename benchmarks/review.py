"""Reviewing a large job over HTTP: pages by confidence, a search, corrections."""

import contextlib
import os
import random
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.rows import Row
from contract.child_processes import python_module
from contract.job import Job, Plan
from contract.kinds.recognition import RecognitionParameters
from contract.lines import RecognitionLine, encode_line, encode_lines
from contract.records import Item
from contract.settings import Settings, environment_of
from contract.source import Source
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.local.embedded import embedded_broker
from producer.results.index import JobIndex
from producer.results.sinks import JSONL, SINKS
from producer.results.sinks.base import MergedLine, SinkContext

CHUNK = 1_024
PAGE = 50
TARGET_MILLISECONDS = 200
START_SECONDS = 60.0
FOUND = "needle"
"""What is searched for; the last line alone has it."""


def review(folder: Path, items: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows: milliseconds of requests to an API, for a job of so many lines on a local disk."""
    settings = Settings(allowed_roots=(str(folder),), api_auth="off")
    workspace, job = _merged(folder, items, settings)
    with _api(folder, settings) as api:
        path = f"/jobs/{job.id}"
        first = _milliseconds(lambda: _page(api, path, {}))
        least = [_milliseconds(lambda: _page(api, path, {})) for _ in range(rounds)]
        anywhere = [
            _milliseconds(lambda: _page(api, path, {"at_least": random.random()})) for _ in range(rounds)
        ]
        blocks, search = _searched(api, path)
        correction = [_milliseconds(lambda n=n: _correct(api, path, items, n)) for n in range(rounds)]
    size = workspace.store.size(workspace.order) / workspace.store.size(workspace.results)
    title = f"review of {items:,} lines"
    bound = {"unit": "ms", "target": TARGET_MILLISECONDS, "at_most": True}
    return [
        Row(f"{title}: a page of {PAGE}, least certain, median", statistics.median(least), **bound),
        Row(f"{title}: a page from anywhere, slowest of {rounds}", max(anywhere), **bound),
        Row(f"{title}: the first page after a start", first, **bound),
        Row(f"{title}: a request of a search, median of {blocks}", search, **bound),
        Row(f"{title}: a correction, median", statistics.median(correction), **bound),
        Row(f"{title}: size of the order over that of the results", size, ""),
    ], {"review": {"least": least, "anywhere": anywhere, "correction": correction}}


def _merged(folder: Path, items: int, settings: Settings) -> tuple[Workspace, Job]:
    """Write what a merge writes of so many lines; of the chunks only those that requests need."""
    storage = Storage(settings)
    workspace = open_workspace(str(folder / "out"), storage)
    chunks = -(-items // CHUNK)
    job = Job(
        id="review",
        parameters=RecognitionParameters(),
        source=Source(type="folder", uri=str(folder)),
        chunk_size=CHUNK,
        created_at=int(time.time()),
        plan=Plan(chunks=chunks, items=items),
    )
    workspace.save_job(job)
    with contextlib.ExitStack() as stack:
        writes = [
            stack.enter_context(SINKS[name].open(SinkContext(job, workspace))) for name in (JSONL, "order")
        ]
        for merged in _lines(items):
            for write in writes:
                write(merged)
    for chunk in {0, chunks - 1}:
        numbers = range(chunk * CHUNK, min(items, (chunk + 1) * CHUNK))
        made = (Item(_name(number), str(folder / _name(number))) for number in numbers)
        workspace.store.replace(workspace.chunk(chunk), encode_lines(list(made)))
    workspace.store.replace(workspace.summary, msgspec.json.encode({"id": job.id}))
    workspace.store.replace(workspace.success, b"")
    JobIndex(AllowedRoots((str(folder),)), storage).note(job, workspace)
    return workspace, job


def _name(number: int) -> str:
    return f"camera-{number % 7}/{number:09d}.png"


def _lines(items: int) -> Iterator[MergedLine]:
    chance = random.Random(1)
    for number in range(items):
        name = _name(number)
        value = FOUND if number == items - 1 else f"{number:x}"
        # As of a good model: most readings are nearly certain.
        line = RecognitionLine(name, name[9:], value, 1 - chance.random() ** 8)
        yield MergedLine(encode_line(line)[:-1], None, number // CHUNK, line.confidence)


@contextlib.contextmanager
def _api(folder: Path, settings: Settings) -> Iterator[httpx.Client]:
    with embedded_broker() as url, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {**os.environ, **environment_of(settings), "TRACE_OCR_REDIS_URL": url}
        command = [*python_module("producer.cli.main"), "api", "--api-port", str(port)]
        process = subprocess.Popen(command, env=environment, cwd=folder)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api:
                _wait(api)
                yield api
        finally:
            process.terminate()
            process.wait()


def _wait(api: httpx.Client) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            api.get("/version").raise_for_status()
            return
        if time.monotonic() > end:
            raise TimeoutError("the API does not start")
        time.sleep(0.1)


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1_000 * (time.perf_counter() - started)


def _page(api: httpx.Client, path: str, query: dict[str, Any]) -> dict[str, Any]:
    answer = api.get(f"{path}/items", params={"limit": PAGE, **query}).raise_for_status()
    page: dict[str, Any] = answer.json()
    assert page["data"]
    return page


def _searched(api: httpx.Client, path: str) -> tuple[int, float]:
    """Search through all lines; return the number of requests, and the milliseconds of the median one."""
    query: dict[str, Any] = {"q": FOUND}
    taken = []
    while True:
        started = time.perf_counter()
        page = api.get(f"{path}/items", params=query).raise_for_status().json()
        taken.append(1_000 * (time.perf_counter() - started))
        if page["cursor"] is None:
            assert [one["value"] for one in page["data"]] == [FOUND]
            return len(taken), statistics.median(taken)
        query["cursor"] = page["cursor"]


def _correct(api: httpx.Client, path: str, items: int, number: int) -> None:
    correction = {"id": _name(number), "chunk": 0, "index": number, "value": f"right {number} of {items}"}
    api.post(f"{path}/corrections", json={"corrections": [correction]}).raise_for_status()
