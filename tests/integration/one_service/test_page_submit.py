"""The web UI's form for a new job."""

import json
import re
import shlex

from playwright.sync_api import Page, expect

from producer.cli.submit import submit
from tests.integration.service import Service
from tests.integration.web_ui import open_with_key, violations


def test_a_job_is_previewed_copied_and_submitted(page: Page, service: Service) -> None:
    # given the form, filled in
    source, output = service.crops(3), service.folder("form's output")
    open_with_key(page, service.key, "/#/submit")
    page.get_by_label("Source", exact=True).fill(str(source))
    page.get_by_label("Output", exact=True).fill(str(output))
    expect(page.locator("#recognition_model-list option", has_text="")).not_to_have_count(0)
    page.get_by_label("recognition model").fill("crnn_mobilenet_v3_small")
    page.get_by_label("detect orientation").select_option("false")
    page.get_by_text("The job", exact=True).click()
    page.get_by_label("job id").fill("from-a-form")
    page.get_by_label("tags").fill("a, b")
    page.get_by_label("include").fill("*.{png,jpg}\n*.tif")

    # then the same is there as a command line and as a request
    parameters = {
        "recognition_model": "crnn_mobilenet_v3_small",
        "detect_orientation": False,
        "job_id": "from-a-form",
        "tags": ["a", "b"],
        "include": ["*.{png,jpg}", "*.tif"],
    }
    request = {"source": str(source), "output": str(output), "kind": "recognition", **parameters}
    command, curl = (shlex.split(text) for text in page.locator(".command code").all_inner_texts())
    assert command[:2] == ["trace-ocr", "submit"]
    asked = submit.make_context("submit", command[2:]).params
    assert (asked["sources"], asked["output"], asked["kind"]) == ((str(source),), str(output), "recognition")
    assert (asked["recognition_model"], asked["job_id"]) == ("crnn_mobilenet_v3_small", "from-a-form")
    assert (asked["detect_orientation"], asked["tags"]) == (False, "a,b")
    assert asked["include"] == ("*.{png,jpg}", "*.tif")
    assert json.loads(curl[curl.index("-d") + 1]) == request

    # when it is previewed, then nothing was submitted
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text(re.compile("^3 items, in 3 files of"))).to_be_visible()
    with service.http(service.key) as http:
        assert http.get("/jobs/from-a-form").status_code == 404
    assert violations(page) == []

    # when it is submitted, then it is shown
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h2", has_text="from-a-form")).to_be_visible()
    expect(page.locator("h2 .status")).to_have_text("completed")
    with service.client() as client:
        assert client.job("from-a-form").status().tags == ("a", "b")


def test_what_is_wrong_with_a_request_is_said(page: Page, service: Service) -> None:
    open_with_key(page, service.key, "/#/submit?source=/etc&output=/nowhere")

    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_role("alert").filter(has_text="outside the allowed roots")).to_be_visible()
