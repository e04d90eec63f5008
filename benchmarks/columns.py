"""What results as columns cost: merges with Parquet and CSV beside the JSONL that every job writes."""

import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Row, interleaved, peak_mebibytes
from contract.job import Job, Plan
from contract.kinds.recognition import RecognitionParameters
from contract.lines import RecognitionLine, encode_lines
from contract.settings import Settings
from contract.source import Source
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results.merge import merge

CHUNK = 1024
"""Items of a chunk, as of jobs by default."""

VALUES = 50_000
"""Different texts: labels repeat, and not all are equal."""

FORMATS = {"JSONL": (), "Parquet": ("parquet",), "CSV": ("csv",)}
"""The formats by what a row calls them: what a job exports besides JSONL."""


def write_parts(workspace: Workspace, items: int) -> None:
    """Write the parts of a job of crops: ids with folders, texts of 3 to 12 characters."""
    choice = random.Random(7)
    values = [
        "".join(choice.choices("0123456789ABCDEFGHJK./-", k=choice.randint(3, 12))) for _ in range(VALUES)
    ]
    for chunk in range(items // CHUNK):
        names = (f"crop-{number:09d}.png" for number in range(chunk * CHUNK, (chunk + 1) * CHUNK))
        lines = [
            RecognitionLine(f"2026/11/22/{name}", name, choice.choice(values), choice.random())
            for name in names
        ]
        workspace.store.replace(workspace.part(chunk), encode_lines(lines))


def job_of(items: int, *exports: str) -> Job:
    """Return a job whose parts `write_parts` has written."""
    chunks = items // CHUNK
    return Job(
        id="columns",
        parameters=RecognitionParameters(),
        exports=exports,
        source=Source(type="folder", uri="/crops"),
        chunk_size=CHUNK,
        created_at=0,
        plan=Plan(chunks=chunks, items=chunks * CHUNK),
    )


def merged_seconds(workspace: Workspace, job: Job) -> float:
    """Merge, and return the seconds of processor time: a merge runs on one core, and others may be busy."""
    started = time.process_time()
    merge(job, workspace)
    return time.process_time() - started


def peak_of(items: int, *exports: str) -> float:
    """Return the peak memory, in MiB, of a process that merges so many lines; another one writes them."""
    with tempfile.TemporaryDirectory() as folder:
        for call in (
            f"write_parts(opened({folder!r}), {items})",
            f"merged({folder!r}, {items}, *{exports!r})",
        ):
            code = f"from benchmarks.columns import *; {call}"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def merged(folder: str, items: int, *exports: str) -> None:
    """Merge in this process; print its peak memory in MiB."""
    merge(job_of(items, *exports), opened(folder))
    print(peak_mebibytes())


def opened(folder: str) -> Workspace:
    """Return the workspace in a folder."""
    return open_workspace(f"{folder}/out", Storage(Settings()))


def columns(folder: Path, *, items: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows."""
    workspace = opened(str(folder))
    write_parts(workspace, items)
    jobs = {name: job_of(items, *exports) for name, exports in FORMATS.items()}
    seconds = interleaved(
        {name: partial(merged_seconds, workspace, job) for name, job in jobs.items()}, rounds
    )
    rates = {name: items / median(found) for name, found in seconds.items()}
    sizes = {
        name: workspace.store.size(workspace.path(f"results.{name.lower()}")) / items for name in FORMATS
    }
    growth = peak_of(items, "parquet") - peak_of(items // 10, "parquet")
    rows = [
        Row(f"merge of {items:,} lines on one core, JSONL alone", rates["JSONL"], "lines/s"),
        Row("merge with Parquet too", rates["Parquet"], "lines/s", 150_000),
        Row("merge with CSV too", rates["CSV"], "lines/s"),
        Row(
            f"memory with Parquet, {items // 10:,} to {items:,} lines: growth",
            growth,
            "MiB",
            32,
            at_most=True,
        ),
        *(Row(f"size of a line in {name}", size, "bytes") for name, size in sizes.items()),
    ]
    return rows, {"columns": {"seconds": seconds}}
