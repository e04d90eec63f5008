"""One running service that every test in this folder shares: api, control, worker, Redis and S3.

A test gives new names to what it makes, leaves no job running, and asks nothing of the jobs of others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect

from producer.local.embedded import embedded_broker
from tests.integration.service import Service, running_service
from tests.integration.web_ui import PATIENCE
from trace_ocr import Client, JobHandle

OTHER_ORIGIN = "https://elsewhere.test"


@pytest.fixture(scope="session")
def service(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Given all processes, on a Redis of their own: one test empties it."""
    with (
        embedded_broker() as url,
        running_service(url, s3_server, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """Given the client, with a key that may do everything."""
    with service.client() as client:
        yield client


@pytest.fixture
def http_client(service: Service) -> Iterator[httpx.Client]:
    """Given plain HTTP, with a key that may do everything."""
    with service.http(service.key) as plain:
        yield plain


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """What is expected of the web UI is waited for as long as everything else, not for Playwright's 5 s."""
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=None)


def missing(request: Request) -> Iterator[str]:
    """Yield what failed if it is a part of the web UI, without which nothing of it is shown."""
    if "/static/" in request.url and "ABORTED" not in (request.failure or ""):
        yield f"{request.url}: {request.failure}"


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A tab that has not been given a key; whatever goes wrong in it fails the test."""
    page = browser.new_page(base_url=service.url)
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("crash", lambda _: problems.append("the tab crashed"))
    page.on("requestfailed", lambda request: problems.extend(missing(request)))
    yield page
    page.close()
    assert problems == []


@pytest.fixture(scope="session")
def source(service: Service) -> Path:
    """A folder with 29 crops and a file that is cut short."""
    folder = service.crops(29)
    (folder / "zzz.png").write_bytes((folder / "0000.png").read_bytes()[:100])
    return folder


@dataclass(frozen=True)
class CropsOnAPage:
    """Sample crops pasted on a page, and where: each name with its box in pixels."""

    page: Path
    boxes: dict[str, tuple[int, int, int, int]]
    crops: list[Path]


@pytest.fixture(scope="session")
def pasted(service: Service) -> CropsOnAPage:
    """A page in a folder below the allowed roots."""
    folder, crops = service.folder("pasted"), sorted(service.crops(6).glob("*.png"))
    folder.mkdir()
    page, boxes, top = Image.new("RGB", (800, 240), "white"), {}, 10
    for path in crops:
        with Image.open(path) as crop:
            page.paste(crop.convert("RGB"), (20, top))
            boxes[path.name] = (20, top, 20 + crop.width, top + crop.height)
            top += crop.height + 10
    page.save(folder / "page.png")
    return CropsOnAPage(folder / "page.png", boxes, crops)


@pytest.fixture(scope="session")
def night(service: Service, source: Path) -> JobHandle:
    """A job over the folder that was submitted through the client and is complete."""
    client = service.client()
    job = client.submit(source, service.folder("night"), job_id="night", chunk_size=7)
    job.wait(timeout=120)
    return job


@pytest.fixture(scope="session")
def run(service: Service, source: Path) -> Path:
    """The workspace that `trace-ocr run` makes of the same folder."""
    output = service.folder("run")
    arguments = ("run", str(source), "-o", str(output), "--chunk-size", "7")
    done = service.run(*arguments, TRACE_OCR_REDIS_URL="")
    assert done.returncode == 1, done.stderr
    return output


@pytest.fixture(scope="session")
def made_key(service: Service) -> tuple[str, str]:
    """A key that may read, as the command makes it, and its entry."""
    made = service.run("api-key", "nightly", "--scope", "read")
    key, entry = (line.split()[1] for line in made.stdout.splitlines())
    return key, entry


@pytest.fixture(scope="session")
def strict(service: Service, made_key: tuple[str, str]) -> str:
    """The URL of an API beside the first one: with small bounds, its keys in a file, and one other origin."""
    keys_file = service.root / "keys"
    entry = service.environment["TRACE_OCR_API_KEYS"].split(",")[-1]
    keys_file.write_text(f"# nightly jobs\n{made_key[1]}\n{entry}\n")
    return service.start_api(
        TRACE_OCR_API_KEYS="",
        TRACE_OCR_API_KEYS_FILE=str(keys_file),
        TRACE_OCR_API_CORS_ORIGINS=OTHER_ORIGIN,
        TRACE_OCR_API_MAX_BYTES="200000",
        TRACE_OCR_API_MAX_FILES="6",
        TRACE_OCR_API_MAX_PAGES="2",
        TRACE_OCR_API_QUEUE_LIMIT="4",
        TRACE_OCR_API_MAX_CONNECTIONS="24",
        TRACE_OCR_API_RECEIVE_SECONDS="2",
    )
