"""What every layer of tests shares: no setting of the developer's machine reaches a test."""

import gc
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.azurite import ACCOUNT, KEY, azurite, make_container
from tests.gcs_emulator import TOKEN, GcsEmulator, serving

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "samples"

IN_ONE_PROCESS = ("tests/chaos", "tests/integration/one_service", "tests/integration/pages")
"""Folders that no two processes share: of faults, one is enough at a time; the service is
started once, and docTR reads the pages once."""


class Suites(LoadFileScheduling):
    """Hand a file, or a folder that must stay in one process, to each of pytest-xdist's processes."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.partition("::")[0].rpartition("/")[0]
        return folder if folder in IN_ONE_PROCESS else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Suites:
    # In the order of collection: the slow folders first, the many small files of unit tests fill up the end.
    config.option.loadscopereorder = False
    return Suites(config, log)


def pytest_collection_finish() -> None:
    """Keep what has been imported out of every later collection of garbage, which would walk all of torch."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no variable of ours or of a cloud but those a test sets."""
    for name in list(os.environ):
        if name.startswith(("TRACE_OCR_", "AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """Given processes that hear SIGINT, also if a shell has started the tests in its background: it has those
    ignore it, and so would everything that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def conditional_writes_are_atomic() -> Iterator[None]:
    """Given an S3 work-alike that checks `If-None-Match` and writes in one step, as S3 does."""
    # moto looks first and writes later: of two who create at once, both can win.
    lock, put_object = threading.Lock(), S3Response.put_object

    def one_at_a_time(response: S3Response) -> Any:
        with lock:
            return put_object(response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", one_at_a_time)
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample crops, pages and weights that ship with the product."""
    return SAMPLES


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 work-alike on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[tuple[GcsEmulator, str]]:
    """A Google Cloud Storage on this machine, and its endpoint."""
    emulator = GcsEmulator()
    with serving(emulator) as url:
        yield emulator, url


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an Azurite's account."""
    with azurite(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def gcs_bucket(gcs_server: tuple[GcsEmulator, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Given an empty bucket of Google Cloud Storage, and an environment that leads there; return its URI."""
    emulator, url = gcs_server
    monkeypatch.setenv("TRACE_OCR_GCS_ENDPOINT_URL", url)
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", TOKEN)
    name = f"test-{uuid.uuid4().hex[:8]}"
    emulator.buckets[name] = {}
    return f"gs://{name}"


@pytest.fixture
def azure_container(azure_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Given an empty container of Azure Blob Storage, and an environment that leads there; return its URI."""
    monkeypatch.setenv("TRACE_OCR_AZURE_ENDPOINT_URL", azure_server)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    name = f"test-{uuid.uuid4().hex[:8]}"
    make_container(azure_server, name)
    return f"az://{name}"
