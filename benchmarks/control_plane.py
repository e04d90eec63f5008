"""The control plane alone: planning, publishing, status and merging, without a model or an image."""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks.downloads import downloads
from benchmarks.looks import looks
from benchmarks.rows import Row, peak_mebibytes
from contract.job import Job
from contract.kinds.recognition import RecognitionParameters
from contract.lines import RecognitionLine, encode_lines
from contract.records import PartOutcome
from contract.settings import Settings
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.local.embedded import embedded_broker
from producer.planning.submit import submit_job
from producer.results.merge import merge
from producer.results.status import find_status
from producer.session import Session
from producer.sources.listing import identify_source, list_source

CHUNKS_OF_STATUS = 10_000


@contextlib.contextmanager
def session_in(folder: Path) -> Iterator[Session]:
    """Yield the clients of a private Redis."""
    with embedded_broker() as url:
        yield Session(Settings(redis_url=SecretStr(url), allowed_roots=(str(folder),)))


def write_manifest(path: Path, items: int) -> None:
    """Write a manifest whose ids come in no particular order."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f'{{"uri":"2026/11/22/crop-{(i * 7919) % items:08d}.png"}}\n' for i in range(items))


def submit(folder: Path, items: int, session: Session) -> tuple[Job, Workspace, float]:
    """Plan and publish a manifest; return the job, its workspace and the seconds."""
    manifest = folder / f"{items}.jsonl"
    write_manifest(manifest, items)
    job = Job(
        id=f"bench-{items}",
        parameters=RecognitionParameters(),
        source=identify_source(str(manifest)),
        created_at=int(time.time()),
    )
    workspace = open_workspace(str(folder / f"out-{items}"), session.storage)
    workspace.save_job(job)
    started = time.perf_counter()
    listing = list_source(job.source, session.storage, io.BytesIO())
    job = submit_job(job, workspace, listing, session.ledger, session.dispatcher)
    return job, workspace, time.perf_counter() - started


def peak_of(step: str, items: int) -> float:
    """Return the peak memory, in MiB, of a process that plans, or plans and merges, the items."""
    code = f"from benchmarks.control_plane import {step}; {step}({items})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def planned(items: int) -> None:
    """Plan and publish in this process; print its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as name, session_in(Path(name)) as session:
        submit(Path(name), items, session)
        print(peak_mebibytes())


def merged(items: int) -> None:
    """Merge in this process what another process planned; print its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as name:
        code = f"from benchmarks.control_plane import prepared; prepared({items}, {name!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        workspace = open_workspace(str(Path(name) / f"out-{items}"), Storage(Settings()))
        merge(workspace.require_job(), workspace)
        print(peak_mebibytes())


def prepared(items: int, folder: str) -> None:
    """Plan in this process, and write the parts."""
    with session_in(Path(folder)) as session:
        job, workspace, _ = submit(Path(folder), items, session)
        fill_parts(job, workspace)


def redis_bytes(session: Session) -> int:
    """Return the bytes that Redis uses for keys and messages."""
    return int(session.client.info("memory")["used_memory_dataset"])  # type: ignore[index]


def fill_parts(job: Job, workspace: Workspace) -> None:
    """Write parts as a null model would."""
    for chunk in range(job.chunks):
        lines = [
            RecognitionLine(i.id, i.id.rpartition("/")[2], "22.01/2030", 0.98) for i in workspace.items(chunk)
        ]
        (Path(workspace.root) / "parts").mkdir(exist_ok=True)
        Path(workspace.part(chunk)).write_bytes(encode_lines(lines))


def status_milliseconds(folder: Path, session: Session) -> float:
    """Return the median of `status` of a job with 10,000 chunks, all done."""
    ledger, name = session.ledger, "many-chunks"
    ledger.open(name, str(folder / name), "recognition", str(folder), 0)
    ledger.plan_done(name, CHUNKS_OF_STATUS + 1, 1024 * CHUNKS_OF_STATUS)
    for chunk in range(CHUNKS_OF_STATUS):
        ledger.begin(name, chunk, "gpu0@host")
        ledger.mark(name, chunk, PartOutcome(1024, 0), worker="gpu0@host", stage_seconds={"forward": 1.0})
    times = []
    for _ in range(21):
        started = time.perf_counter()
        find_status(name, ledger, session.storage)
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times)[len(times) // 2]


def control_plane(folder: Path, *, items: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows, and the seconds of planning and merging from a hundredth of the items up."""
    cost: dict[str, dict[int, float]] = {"plan and publish": {}, "merge": {}}
    with session_in(folder) as session:
        status = status_milliseconds(folder, session)
        for count in (items // 100, items // 10, items):
            before = redis_bytes(session)
            job, workspace, cost["plan and publish"][count] = submit(folder, count, session)
            memory = redis_bytes(session) - before
            fill_parts(job, workspace)
            started = time.perf_counter()
            merge(job, workspace)
            cost["merge"][count] = time.perf_counter() - started
        downloaded = downloads(job, session.settings, items)
        looked = looks(folder, session)
    growth = peak_of("planned", items) - peak_of("planned", items // 10)
    merging = peak_of("merged", items) - peak_of("merged", items // 10)
    span = f"{items // 10:,} to {items:,} items"
    rows = [
        Row(
            f"plan and publish, {items:,} items", items / cost["plan and publish"][items], "items/s", 150_000
        ),
        Row(f"producer memory, {span}: growth", growth, "MiB", 16, at_most=True),
        Row(f"Redis memory per item at {items:,}", memory / items, "bytes", 4, at_most=True),
        Row(f"status with {CHUNKS_OF_STATUS:,} chunks", status, "ms", 20, at_most=True),
        Row(f"merge, {items:,} lines", items / cost["merge"][items], "lines/s", 200_000),
        Row(f"merge's memory, {span}: growth", merging, "MiB", 16, at_most=True),
        *downloaded,
        *looked,
    ]
    return rows, {"cost": cost}
