"""Texts are reviewed and corrected in a real browser, with keys, and end up in the results."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.integration.service import SAMPLES, Service
from tests.integration.web_ui import PATIENCE, open_with_key, violations
from trace_ocr import JobHandle, RecognitionLine

HOSTILE = "<img src=x onerror=document.title='stolen'>.png"


def labelled(service: Service) -> Path:
    """Return a manifest of labelled crops, one of which has a hostile name, and of one that is no image."""
    folder = service.crops(8)
    right = json.loads((SAMPLES / "labels.json").read_text())
    *others, last = sorted(path.name for path in folder.iterdir())
    lines = [{"uri": name, "label": right.get(name, "none")} for name in others]
    lines.append({"uri": last, "id": HOSTILE, "label": "<b>wrong</b>"})
    (folder / "broken.png").write_bytes(b"no image")
    manifest = folder / "crops.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"uri": "broken.png"}]))
    return manifest


def test_texts_are_reviewed_and_corrected_with_keys(page: Page, service: Service, pictures: Path) -> None:
    with service.client() as client:
        job = client.submit(str(labelled(service)), str(service.folder()))
        job.wait(timeout=PATIENCE / 1_000)
        read = sorted(job.results(RecognitionLine), key=lambda line: line.confidence)
        open_with_key(page, service.key, f"/#/jobs/{job.id}/review")

        # then the least certain is first, with its picture, and differences to its label
        cards = page.locator(".review li")
        expect(cards).to_have_count(8)
        expect(cards.first.locator(".confidence")).to_contain_text(read[0].id)
        expect(cards.first.get_by_role("img")).to_be_visible()
        expect(cards.locator(".difference del").first).to_be_visible()
        assert page.locator(".review li b").count() == 0
        page.screenshot(path=pictures / "page-review.png")
        assert violations(page) == []

        # when the second one is corrected with keys alone
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page).to_have_url(re.compile("at="))
        page.keyboard.press("Enter")
        field = page.get_by_label(f"Correct text of {read[1].id}", exact=True)
        expect(field).to_be_focused()
        field.fill("<i>right</i>")
        page.keyboard.press("Enter")
        # then it shows, and the next one is chosen
        expect(cards.nth(1).locator(".corrected")).to_contain_text("corrected by read-submit")
        expect(cards.nth(2)).to_have_attribute("aria-current", "true")
        expect(cards.nth(2)).to_be_focused()

        # and the address keeps the choice, and what is searched for
        page.reload()
        expect(cards.nth(2)).to_have_attribute("aria-current", "true")
        page.get_by_label("Id begins with").fill(HOSTILE[:6])
        page.get_by_role("button", name="Find").click()
        expect(cards).to_have_count(1)
        page.get_by_label("Show").select_option("any")
        expect(page.get_by_text("Nothing found.")).to_be_visible()
        page.get_by_label("Id begins with").fill("")
        page.get_by_role("button", name="Find").click()
        expect(cards.locator(".error")).to_contain_text("not_an_image")

        corrections_are_applied(page, job, read[1])
        assert "stolen" not in page.title()


def corrections_are_applied(page: Page, job: JobHandle, line: RecognitionLine) -> None:
    page.get_by_role("button", name="Put corrections into the results").click()
    page.get_by_role("button", name="Merge again").click()
    expect(page.locator("h2 .status")).to_have_text("completed")
    job.wait(timeout=PATIENCE / 1_000)
    (after,) = [one for one in job.results(RecognitionLine) if one.id == line.id]
    assert (after.value, after.value_read, after.corrected_by) == ("<i>right</i>", line.value, "read-submit")


def test_the_words_of_a_page_are_drawn_on_it_and_corrected_there(page: Page, service: Service) -> None:
    # given a page that was read
    folder = service.folder()
    folder.mkdir()
    shutil.copy(SAMPLES / "pages" / "receipt.png", folder)
    with service.client() as client:
        job = client.submit(folder, service.folder(), kind="ocr", detection_model="linknet_resnet18")
        job.wait(timeout=PATIENCE / 1_000)
        (item,) = job.items()
        words = job.item(item).words
    open_with_key(page, service.key, f"/#/jobs/{job.id}/review")

    # when it is opened, then each of its words is drawn in its place
    page.get_by_role("button", name="Open the page").click()
    drawn = page.get_by_role("region", name="Page receipt.png").locator("svg g")
    expect(drawn).to_have_count(len(words))
    assert drawn.locator("text").all_text_contents() == [word.value for word in words]
    left, top, right, bottom = words[0].geometry
    width, height = page.locator(".page svg").get_attribute("viewBox").split()[2:]  # type: ignore[union-attr]
    corners = drawn.first.locator("polygon").get_attribute("points").split()  # type: ignore[union-attr]
    shown = [tuple(map(float, corner.split(","))) for corner in corners]
    expected = [(left, top), (right, top), (right, bottom), (left, bottom)]
    assert shown == [pytest.approx((x * float(width), y * float(height)), abs=1) for x, y in expected]

    # when a word is pointed at, then it stands out, and its text can be corrected
    drawn.first.locator("polygon").click()
    expect(drawn.first).to_have_class(re.compile("chosen"))
    field = page.get_by_label(f"Correct text of {words[0].value}", exact=True)
    field.fill("RECTIFIED")
    field.press("Enter")
    expect(drawn.first.locator("text")).to_have_text("RECTIFIED")
