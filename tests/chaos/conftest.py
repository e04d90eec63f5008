"""The scene of each fault, and the table at the end."""

import os
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from contract.settings import Settings
from contract.storage import Storage
from tests.chaos.faulty_s3 import faulty
from tests.chaos.scene import Record, RedisServer, RemoteScene, Row, S3Scene, Scene
from tests.chaos.sources import compared_crops, crops, pages, regions, shards
from tests.integration.conftest import (  # noqa: F401 - fixtures of this layer too
    bucket,
    demo_model,
    start,
    trace_ocr,
)
from tests.integration.processes import Bucket, Run, Start

FAULT = "fault survived"
"""The property of a test's report that holds its row: reports come from other processes, too."""

FAST = {
    "TRACE_OCR_RECONCILE_SECONDS": "1",
    "TRACE_OCR_VISIBILITY_TIMEOUT": "6",
    "TRACE_OCR_LEASE_SECONDS": "1",
    "TRACE_OCR_SHUTDOWN_GRACE_SECONDS": "1",
    "TRACE_OCR_RECOGNITION_BATCH_SIZE": "8",
}
"""Times that an operator sets in minutes, in seconds."""


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Put a row into the table."""
    return lambda row: record_property(FAULT, list(map(str, astuple(row))))


@pytest.fixture
def make_redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    servers: list[RedisServer] = []

    def make(*, append_only: bool = False, **options: Any) -> RedisServer:
        folder = tmp_path / f"redis-{len(servers)}"
        servers.append(RedisServer(folder, append_only=append_only, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def append_only() -> bool:
    """Whether Redis keeps its log; a test's parameter says otherwise."""
    return False


def kinds(*others: str) -> list[Any]:
    """Return crops, and others that are in the long form only, as parameters of `kind`."""
    return ["crops", *(pytest.param(kind, marks=pytest.mark.full) for kind in others)]


with_regions = pytest.mark.parametrize("kind", kinds("pages", "compare", "regions"), indirect=True)
"""For faults that may strike while some of a page's regions are read: the others say nothing new of them."""

SHARDS = {"shards": "tar", "parquet": "parquet", "lmdb": "lmdb"}
"""Formats of shards by the kinds of jobs over them."""

with_shards = pytest.mark.parametrize("kind", kinds("pages", "compare", "regions", *SHARDS), indirect=True)
"""For faults that may strike while the members of a shard are read together."""

with_remote_shards = pytest.mark.parametrize(
    "kind", kinds("pages", "compare", "regions", "shards", "parquet"), indirect=True
)
"""The same for shards that may be in a bucket."""


@pytest.fixture(params=kinds("pages", "compare"))
def kind(request: pytest.FixtureRequest) -> str:
    """What the job reads."""
    return str(request.param)


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    kind: str,
    make_redis_server: Callable[..., RedisServer],
    append_only: bool,
    start: Start,  # noqa: F811
    trace_ocr: Run,  # noqa: F811
    demo_model: None,  # noqa: F811
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """A cluster's parts, none of them started but Redis."""
    server = make_redis_server(append_only=append_only)
    injected = Path(__file__).parent / "injected"
    environment = {
        "TRACE_OCR_REDIS_URL": server.url,
        "TRACE_OCR_ALLOWED_ROOTS": f"{samples},{tmp_path}",
        "PYTHONPATH": str(injected),
        **FAST,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = request.node.name.removeprefix("test_").replace("_", " ")
    made = {"crops": crops, "pages": partial(pages, images=24), "regions": partial(regions, images=24)}
    made |= {name: partial(shards, form=form) for name, form in SHARDS.items()}
    make = {**made, "compare": compared_crops}[kind]
    return Scene(name, server, make(samples / "crops", tmp_path / "all"), tmp_path / "out", start, trace_ocr)


@pytest.fixture
def s3_scene(
    scene: Scene,
    kind: str,
    bucket: Bucket,  # noqa: F811
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[S3Scene]:
    """The same over some 40 items in a bucket, which the processes reach through the faulty proxy alone."""
    caplog.set_level("WARNING", "werkzeug")  # moto's line for every request
    made = {
        "crops": partial(crops, count=40),
        "pages": partial(pages, images=30),
        "regions": partial(regions, images=30, chunk_size=8),
        **{name: partial(shards, count=160, form=form) for name, form in SHARDS.items()},
    }
    make = {**made, "compare": partial(compared_crops, count=40)}[kind]
    job = make(samples / "crops", tmp_path / "some")
    bucket.upload(job.folder, "source/")
    root = f"s3://{bucket.name}"
    with faulty(bucket.environment["TRACE_OCR_S3_ENDPOINT_URL"]) as network:
        monkeypatch.setenv("TRACE_OCR_S3_ENDPOINT_URL", network.url)
        monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", f"{root}/")
        of_scene = {**vars(scene), "job": job}
        yield S3Scene(**of_scene, root=root, network=network, bucket=bucket)


@pytest.fixture(params=["gs", "az"])
def cloud_scene(
    request: pytest.FixtureRequest,
    scene: Scene,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RemoteScene]:
    """The same over 40 crops in Google Cloud Storage, and in Azure Blob Storage."""
    of_root, endpoint = {
        "gs": ("gcs_bucket", "TRACE_OCR_GCS_ENDPOINT_URL"),
        "az": ("azure_container", "TRACE_OCR_AZURE_ENDPOINT_URL"),
    }[request.param]
    root = request.getfixturevalue(of_root)
    job = crops(samples / "crops", tmp_path / "some", count=40)
    with faulty(os.environ[endpoint]) as network:
        monkeypatch.setenv(endpoint, network.url)
        monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", f"{root}/")
        store = Storage(Settings()).at(root)
        for name in job.files:
            store.replace(f"{root}/source/{name}", (job.folder / name).read_bytes())
        of_scene = {**vars(scene), "job": job}
        yield RemoteScene(**of_scene, root=root, network=network)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    rows = [row for report in reports for name, row in report.user_properties if name == FAULT]
    if not rows:
        return
    terminalreporter.section("faults survived")
    table = [[field.name for field in fields(Row)], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        )
