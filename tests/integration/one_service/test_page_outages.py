"""The web UI while something is missing: workers, the API, a key that is valid."""

import re
import socket
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from producer.api.security.keys import new_key
from tests.integration.processes import Process
from tests.integration.service import Service
from tests.integration.web_ui import PATIENCE, open_with_key, violations
from trace_ocr import JobHandle


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
    expect(page.locator("#away")).to_be_hidden(timeout=PATIENCE)
    expect(page.locator("main")).not_to_have_class("outdated")

    # when the key is revoked, then that is said
    page.route("**/system", lambda route: route.fulfill(status=401, json={"detail": "send a valid key"}))
    revoked = page.get_by_text("Your key is no longer valid: it was revoked or replaced.")
    expect(revoked).to_be_visible(timeout=PATIENCE)
    api.stop()


def test_many_jobs_are_read_page_by_page(page: Page, service: Service, night: JobHandle) -> None:
    # given 200 jobs, which an API makes of one
    with service.http(service.key) as http:
        one = http.get(f"/jobs/{night.id}").json()

    def answer(route: Route) -> None:
        query = {name: text for name, (text,) in parse_qs(urlsplit(route.request.url).query).items()}
        number = {name: int(text.rpartition("-")[2]) for name, text in query.items() if "many" in text}
        first = number["before"] + 25 if "before" in number else number.get("after", 200) - 1
        found = [{**one, "id": f"many-{number:03}"} for number in range(first, first - 25, -1)]
        counts = {"attention": 0, "running": 0, "ended": 200}
        has_more = first < 199 if "before" in number else first > 25
        page_of_jobs = {"data": found, "has_more": has_more, "last_id": found[-1]["id"], "counts": counts}
        route.fulfill(json={"object": "list", **page_of_jobs})

    page.route(re.compile(r"/jobs\?"), answer)
    open_with_key(page, service.key)

    # then a page of them is shown, and the address leads to the next one, and back
    rows = page.locator(".jobs tbody tr")
    expect(rows).to_have_count(25)
    page.get_by_role("link", name="Older jobs").click()
    expect(page.get_by_role("link", name="many-174")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="many-174")).to_be_visible()
    page.get_by_role("link", name="Newer jobs").click()
    expect(page.get_by_role("link", name="many-199")).to_be_visible()
    expect(page.get_by_role("link", name="Newest jobs")).to_have_count(0)
    expect(rows).to_have_count(25)
