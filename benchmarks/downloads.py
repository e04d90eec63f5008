"""Downloads over HTTP: all lines of a complete job, and one line far behind the first.

By hand, with the encodings that a client can ask for: `python -m benchmarks.downloads --lines 2000000`.
"""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import httpx

from benchmarks.rows import Row
from contract.child_processes import python_module
from contract.job import Job
from contract.settings import Settings, environment_of
from trace_ocr import Client

FAR_LOOKS = 21
"""Requests for a far line, of which the median counts."""


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Run the HTTP API without keys; yield its URL."""
    command = [*python_module("producer.cli.main"), "api", "--api-port", "0", "--api-auth", "off"]
    environment = {**os.environ, **environment_of(settings), "TRACE_OCR_LOG_FORMAT": "json"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            found = next(filter(None, (re.search(r"http://[0-9.:]+", line) for line in process.stderr)))
            yield found[0]
        finally:
            process.terminate()


def client_seconds(url: str, job: Job, lines: int) -> float:
    """Return the seconds in which the client yields all results."""
    started = time.perf_counter()
    with Client(url) as client:
        assert sum(1 for _ in client.job(job.id).results()) == lines
    return time.perf_counter() - started


def raw_seconds(url: str, job: Job, encoding: str) -> tuple[float, float]:
    """Return the seconds in which the bytes of all results arrive, and the MiB on the wire."""
    headers, started = {"Accept-Encoding": encoding}, time.perf_counter()
    with httpx.stream("GET", f"{url}/jobs/{job.id}/results", headers=headers, timeout=None) as answer:  # noqa: S113
        size = sum(map(len, answer.iter_raw()))
    return time.perf_counter() - started, size / 2**20


def far_milliseconds(url: str, job: Job, offset: int) -> float:
    """Return the median time of a request for one line."""
    times = []
    with httpx.Client(timeout=None) as client:  # noqa: S113
        for _ in range(FAR_LOOKS):
            started = time.perf_counter()
            answer = client.get(f"{url}/jobs/{job.id}/results", params={"offset": offset, "limit": 1})
            times.append(1000 * (time.perf_counter() - started))
            assert answer.text.count("\n") == 1, answer.text
    return sorted(times)[len(times) // 2]


def downloads(job: Job, settings: Settings, lines: int) -> list[Row]:
    """Return the rows of a complete job that has so many results."""
    with serving(settings) as url:
        seconds, far = client_seconds(url, job, lines), far_milliseconds(url, job, lines - 1)
    return [
        Row(f"download by the client, {lines:,} lines", lines / seconds, "lines/s", 100_000),
        Row(f"the last of {lines:,} lines by its offset", far, "ms", 50, at_most=True),
    ]


@click.command()
@click.option("--lines", default=2_000_000)
def main(lines: int) -> None:
    """Print how long each way of fetching the results takes."""
    from benchmarks.control_plane import fill_parts, session_in, submit
    from producer.results.merge import merge

    with tempfile.TemporaryDirectory(prefix="trace-ocr-bench-") as name, session_in(Path(name)) as session:
        job, workspace, _ = submit(Path(name), lines, session)
        fill_parts(job, workspace)
        merge(job, workspace)
        with serving(session.settings) as url:
            for encoding in ("identity", "gzip"):
                seconds, size = raw_seconds(url, job, encoding)
                click.echo(f"{encoding}: {seconds:.2f} s, {size:,.0f} MiB")
            click.echo(f"client: {client_seconds(url, job, lines):.2f} s")
            for offset in (1, lines // 2, lines - 1):
                click.echo(f"offset {offset:,}: {far_milliseconds(url, job, offset):,.1f} ms")


if __name__ == "__main__":
    main()
