"""The web UI, in a real browser, with a real API, control and worker."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from contract.states import State
from tests.integration.one_service.conftest import CropsOnAPage
from tests.integration.service import Service
from tests.integration.web_ui import PATIENCE, open_with_key, violations
from trace_ocr import JobHandle, RecognitionLine

HOSTILE = "<img src=x onerror=document.title='stolen'>.png"


@pytest.fixture
def crops(service: Service) -> Path:
    """Sixty crops, a file that is no image, and one whose name is an attack."""
    folder = service.crops(60)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / HOSTILE).write_bytes(b"no image either")
    return folder


def test_a_job_is_watched_to_its_end_and_its_errors_are_opened(
    page: Page, service: Service, crops: Path, pictures: Path
) -> None:
    # given the jobs, open before there is the one
    open_with_key(page, service.key, "/#/?q=page-1")
    expect(page.get_by_text("No jobs match.")).to_be_visible()

    # when a job is submitted
    with service.client() as client:
        client.submit(str(crops), str(service.folder()), job_id="page-1", chunk_size=8, tags=["scans"])

    # then it appears by itself, and is followed to its end
    row = page.get_by_role("row", name=re.compile("page-1"))
    expect(row).to_contain_text("completed, 2 items failed")
    page.get_by_role("link", name="page-1").click()
    expect(page.locator("h2 .status")).to_have_text("completed")
    expect(page.get_by_text("60 read, 2 failed, of 62")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Items per second"))).to_be_visible()

    # and its errors say which file and why; a hostile name is text and nothing else
    error = page.locator("details", has_text="broken.png")
    error.locator("summary").click()
    expect(error.get_by_text("not an image that can be read")).to_be_visible()
    expect(page.locator("summary", has_text=HOSTILE)).to_be_visible()
    assert page.locator("img[src='x']").count() == 0
    assert "stolen" not in page.title()

    # and crops stand beside their text
    samples = page.locator(".samples li")
    expect(samples.first.get_by_role("img")).to_be_visible()
    assert samples.first.locator(".value").inner_text()

    page.screenshot(path=pictures / "page-job.png", full_page=True)

    # and the chunks name their worker, for the keyboard too
    chunks = page.get_by_role("slider", name="Chunk")
    chunks.press("End")
    expect(page.locator(".pointed")).to_have_text(
        re.compile(r"^chunk 7: done by cpu\S* in .+, \d items read")
    )


def test_the_jobs_are_filtered_by_what_is_in_the_address(
    page: Page, service: Service, night: JobHandle
) -> None:
    # given the jobs, in which one is complete
    open_with_key(page, service.key)
    row = page.get_by_role("row", name=re.compile(f"^{night.id} "))
    expect(row).to_be_visible()

    # then each condition shows it or hides it
    for field, others, its_own in (
        ("Search", "nothing-like-it", night.id),
        ("Tag", "nobody", ""),
        ("Tenant", "nobody", "default"),
        ("From", "2100-01-01", "2020-01-01"),
        ("to", "2020-01-01", "2100-01-01"),
    ):
        page.get_by_label(field, exact=True).fill(others)
        page.get_by_label(field, exact=True).press("Enter")
        expect(page.get_by_text("No jobs match.")).to_be_visible()
        page.get_by_label(field, exact=True).fill(its_own)
        page.get_by_label(field, exact=True).press("Enter")
        expect(row).to_be_visible()
    page.get_by_role("link", name="running").click()
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    page.get_by_role("link", name="ended").click()
    page.get_by_label("Kind").select_option("recognition")
    expect(page.locator("#status option")).to_have_text(["all", *(state.words for state in State)])
    page.get_by_label("Status").select_option("cancelled")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    page.get_by_label("Status").select_option("completed")
    expect(row).to_be_visible()

    # and a reload asks for the same
    page.reload()
    expect(row).to_be_visible()
    assert page.get_by_label("Search").input_value() == night.id
    assert page.get_by_label("Kind").input_value() == "recognition"

    # and the focus stays in the table while it is renewed
    page.get_by_role("link", name=night.id, exact=True).focus()
    for _ in range(2):
        with page.expect_response(re.compile(r"/jobs\?")):
            pass
    expect(page.get_by_role("link", name=night.id, exact=True)).to_be_focused()


def test_given_regions_are_shown_cut_out_and_on_their_page(
    page: Page, service: Service, pasted: CropsOnAPage, pictures: Path
) -> None:
    # given a job of a page's regions, of which one is outside the page
    regions = [list(box) for box in pasted.boxes.values()] + [[900, 0, 990, 9]]
    manifest = pasted.page.with_name("regions.jsonl")
    entries = [json.dumps({"uri": "page.png", "region": region}) for region in regions]
    manifest.write_text("\n".join(entries) + "\n")
    with service.client() as client:
        job = client.submit(str(manifest), str(service.folder()))
        assert job.wait(timeout=PATIENCE / 1_000).request_counts.failed == 1
    open_with_key(page, service.key, f"/#/jobs/{job.id}")

    # then a sample is what was cut out
    sample = page.locator(".samples li", has_text="page.png#r=1").first
    cut = sample.get_by_role("img", name="page.png#r=1", exact=True)
    left, top, right, bottom = regions[0]
    assert cut.evaluate("one => one.width / one.height") == pytest.approx(
        (right - left) / (bottom - top), rel=0.05
    )

    # and on its page all regions are drawn with their texts; the one without a result looks different
    sample.get_by_text("on its page").click()
    drawn = sample.locator(".page polygon")
    expect(drawn).to_have_count(len(regions))
    expect(sample.locator(".page .bad polygon")).to_have_count(1)
    expect(sample.locator(".page .bad title")).to_contain_text("bad_region")
    texts = {line.value for line in service.client().job(job.id).results(RecognitionLine)}
    assert set(sample.locator(".page text").all_text_contents()) == texts | {""}
    page.locator(".samples").screenshot(path=pictures / "regions.png")


def test_the_forms_of_a_template_are_a_table(page: Page, service: Service, pasted: CropsOnAPage) -> None:
    # given a job of one page, with a template of two fields
    boxes = dict(zip(("total", "<b>date"), pasted.boxes.values(), strict=False))
    template = pasted.page.with_name("template.json")
    template.write_text(json.dumps([{"name": name, "region": box} for name, box in boxes.items()]))
    with service.client() as client:
        source, out = str(pasted.page.parent / "page.jsonl"), str(service.folder())
        Path(source).write_text(json.dumps({"uri": "page.png"}) + "\n")
        job = client.submit(source, out, regions=f"template:{template}")
        job.wait(timeout=PATIENCE / 1_000)
    open_with_key(page, service.key, f"/#/jobs/{job.id}")

    page.get_by_role("link", name="Table of the forms").click()

    heads = page.get_by_role("region", name="Forms").get_by_role("columnheader")
    expect(heads).to_have_text(["Page", "total", "<b>date"])
    cells = page.get_by_role("region", name="Forms").get_by_role("cell")
    assert violations(page) == []
    expect(cells).to_have_text([line.value for line in service.client().job(job.id).results(RecognitionLine)])


def test_a_comparison_is_shown_and_downloaded(page: Page, service: Service, tmp_path: Path) -> None:
    # given a comparison that is complete
    with service.client() as client:
        source, out = str(service.crops(4)), str(service.folder())
        models = ["crnn_mobilenet_v3_small", "mobilenet-2025"]
        job = client.submit(source, out, kind="compare", models=models)
        job.wait(timeout=PATIENCE / 1_000)
    open_with_key(page, service.key, f"/#/jobs/{job.id}")

    # then its report is a view of its own, in figures
    page.get_by_role("link", name="Report of the comparison").click()
    expect(page.get_by_role("region", name="Models", exact=True).get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("region", name="Pairs of models").get_by_role("row")).to_have_count(2)
    assert violations(page) == []

    # when the whole of it is downloaded
    with page.expect_download() as started:
        page.get_by_role("button", name="Download the whole report").click()

    # then it is a page of its own, with both models
    assert started.value.suggested_filename == f"{job.id}-report.html"
    started.value.save_as(tmp_path / "report.html")
    page.goto(f"file://{tmp_path / 'report.html'}")
    expect(page.get_by_role("region", name="Thresholds and speed").get_by_role("row")).to_have_count(3)
    for model in models:
        expect(page.get_by_role("rowheader", name=model, exact=True).first).to_be_visible()


def test_the_results_are_downloaded(page: Page, service: Service, crops: Path) -> None:
    with service.client() as client:
        job = client.submit(str(crops), str(service.folder()), job_id="page-2")
        job.wait(progress=False)
    open_with_key(page, service.key, "/#/jobs/page-2")

    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download results").click()

    assert downloaded.value.suggested_filename == "page-2-results.jsonl"
    assert len(downloaded.value.path().read_text().splitlines()) == 60


def test_a_job_is_steered_with_its_buttons(page: Page, service: Service, crops: Path, pictures: Path) -> None:
    # given a job that cannot end by itself, since it is paused as soon as it is there
    with service.client() as client:
        job = client.submit(str(crops), str(service.folder()), job_id="page-3", chunk_size=1)
        job.pause()
    open_with_key(page, service.key)
    expect(page.get_by_role("row", name=re.compile("page-3"))).to_contain_text("paused")
    page.screenshot(path=pictures / "page-jobs.png")
    page.get_by_role("link", name="page-3").click()
    expect(page.locator("h2 .status")).to_have_text("paused")
    expect(page.locator("button[data-action]")).to_have_text(["resume", "cancel"])

    # when it is cancelled, but the question whether to is answered with no
    page.get_by_role("button", name="cancel").click()
    expect(page.get_by_text("Cancel page-3?")).to_be_visible()
    page.keyboard.press("Escape")

    # then the focus is where it was, and the job as it was
    expect(page.get_by_role("button", name="cancel")).to_be_focused()

    # when it is resumed, then it ends, and the focus is on what can be done now
    page.get_by_role("button", name="resume").press("Enter")
    expect(page.locator("h2 .status")).to_have_text("completed")
    expect(page.locator("button[data-action]")).to_have_text(["retry errors"])
    assert page.evaluate("document.activeElement.tagName") != "BODY"


def test_a_key_that_may_only_read_is_offered_nothing_else(
    page: Page, service: Service, night: JobHandle
) -> None:
    page.clock.install()
    open_with_key(page, service.read_key, f"/#/jobs/{night.id}")

    expect(page.get_by_role("button", name="Download results")).to_be_visible()
    expect(page.get_by_role("link", name="Workers")).to_be_visible()
    expect(page.locator("button[data-action]")).to_have_count(0)
    expect(page.get_by_role("link", name="New job")).to_have_count(0)

    # and the ages of what has ended count on
    page.clock.fast_forward("03:00:00")
    expect(page.get_by_text("3 h ago").first).to_be_visible()


def test_a_wrong_key_is_asked_for_again(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Open").click()

    expect(page.get_by_text("That key is not valid.")).to_be_visible()


def test_health_is_shown_before_any_key_is_given(page: Page) -> None:
    page.goto("/")

    for check in ("redis", "storage", "worker", "device", "control"):
        expect(page.locator("#health").get_by_text(f"✓ {check}")).to_be_visible()


def test_an_unknown_job_is_said_to_be_unknown(page: Page, service: Service) -> None:
    open_with_key(page, service.key, "/#/jobs/none")

    expect(page.locator("#notice")).to_have_text("there is no job none")


@pytest.mark.parametrize("address", ["/#/jobs/%E0%A4%A", "/#/jobs/a%2Fb", "/#/jobs/.."])
def test_a_damaged_address_is_said_to_be_one(page: Page, address: str) -> None:
    page.goto(address)

    expect(page.locator("#notice")).to_contain_text("This address names no job")
    expect(page.get_by_role("link", name="All jobs")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible_and_fits_a_phone(
    scheme: str, browser: Browser, service: Service, night: JobHandle, pictures: Path
) -> None:
    page = browser.new_page(
        base_url=service.url,
        viewport={"width": 360, "height": 780},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    open_with_key(page, service.key)
    for path, shown in (
        ("/#/?state=ended", ".jobs tbody tr"),
        ("/#/workers", ".workers tbody tr"),
        ("/#/submit", ".command"),
        (f"/#/jobs/{night.id}", ".samples img"),
    ):
        page.goto(path)
        expect(page.locator(shown).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert violations(page) == []
    if scheme == "light":
        page.screenshot(path=pictures / "page-phone.png")
    page.close()


def test_the_documentation_of_the_api_loads_nothing_from_elsewhere(page: Page, service: Service) -> None:
    asked: list[str] = []
    refused: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)

    page.goto("/docs")

    expect(page.get_by_text("/recognition/", exact=True)).to_be_visible()
    assert [url for url in asked if not url.startswith((service.url, "data:"))] == []
    assert refused == [], "the content policy forbids something"
