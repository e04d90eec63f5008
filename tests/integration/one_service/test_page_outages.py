"""The web UI while something is missing: workers, the API, a key that is valid."""

import re
import socket

import pytest
import redis
from playwright.sync_api import Page, expect

from contract.broker.ledger import Ledger
from contract.states import State
from producer.api.security.keys import new_key
from tests.integration.processes import Process
from tests.integration.service import Service
from tests.integration.web_ui import open_with_key, violations


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(service: Service, port: int, entry: str) -> Process:
    """Start an API on a port, with one key, in a namespace without workers and control."""
    process = service.start(
        "api", "--api-port", str(port), TRACE_OCR_API_KEYS=entry, TRACE_OCR_NAMESPACE="lonely"
    )
    process.wait_for("Uvicorn running on")
    return process


def test_what_is_missing_is_said(page: Page, service: Service, port: int) -> None:
    # given an API without a worker, and a job that waits for one
    key, entry = new_key("one", ("read", "submit"))
    api = start(service, port, entry)
    url = f"http://127.0.0.1:{port}"
    with service.http(key, url) as http:
        body = {"source": str(service.crops(1)), "output": str(service.folder()), "job_id": "lonely"}
        assert http.post("/jobs", json=body).status_code == 202

    # then that is said, everywhere and of the job
    open_with_key(page, key, url)
    expect(page.locator(".system .alert")).to_contain_text("No worker is alive")
    expect(page.get_by_role("row", name=re.compile("lonely"))).to_contain_text(
        re.compile("waiting|no control")
    )

    # when the API stops, then the data stays, is said to be old, and all of it can still be read
    api.stop()
    expect(page.locator("#away")).to_have_text(
        re.compile(r"the API does not answer: as of \d\d:\d\d:\d\d, trying again")
    )
    expect(page.get_by_role("link", name="lonely")).to_be_visible()
    expect(page.locator("main")).to_have_class("outdated")
    assert violations(page) == []

    # when it is back, then so is the page, by itself
    api = start(service, port, entry)
    expect(page.locator("#away")).to_be_hidden()
    expect(page.locator("main")).not_to_have_class("outdated")

    # when the key is revoked, which an API learns at its start, then that is said
    api.stop()
    api = start(service, port, new_key("another", ("read",))[1])
    revoked = page.get_by_text("Your key is no longer valid: it was revoked or replaced.")
    expect(revoked).to_be_visible()
    api.stop()


@pytest.fixture
def many(service: Service) -> int:
    """Sixty jobs in Redis that have ended, older than all others, with a tag of their own."""
    with redis.Redis.from_url(service.redis_url, decode_responses=True) as client:
        ledger = Ledger(client, "trace-ocr")
        for number in range(60):
            identity, folder = f"many-{number:02}", service.folder("many")
            ledger.open(identity, f"{folder}/{number}", "recognition", str(folder), number + 1, tags=["many"])
            ledger.finish(identity, State.CANCELLED, 600)
    return 60


def test_many_jobs_are_read_page_by_page(page: Page, service: Service, many: int) -> None:
    open_with_key(page, service.key, "/#/?tag=many")

    # then a page of them is shown, the newest first, and the address leads to the next one, and back
    rows = page.locator(".jobs tbody tr")
    expect(rows).to_have_count(25)
    expect(page.get_by_role("link", name=f"many-{many - 1}")).to_be_visible()
    page.get_by_role("link", name="Older jobs").click()
    expect(page.get_by_role("link", name="many-34")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="many-34")).to_be_visible()
    page.get_by_role("link", name="Older jobs").click()
    expect(rows).to_have_count(10)
    expect(page.get_by_role("link", name="Older jobs")).to_have_count(0)
    page.get_by_role("link", name="Newer jobs").click()
    expect(page.get_by_role("link", name="many-34")).to_be_visible()
    page.get_by_role("link", name="Newer jobs").click()
    expect(page.get_by_role("link", name=f"many-{many - 1}")).to_be_visible()
    expect(page.get_by_role("link", name="Newest jobs")).to_have_count(0)
    expect(rows).to_have_count(25)
