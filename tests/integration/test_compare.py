"""`trace-ocr compare` for real, with two checkpoints, and its report in a real browser."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

MODELS = ("crnn_mobilenet_v3_small", "mobilenet-2025", "mobilenet-2025>crnn_mobilenet_v3_small@0.9")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    output = tmp_path_factory.mktemp("compare") / "out"
    command = [
        sys.executable,
        "-m",
        "producer.cli.main",
        "compare",
        str(samples / "crops"),
        "-o",
        str(output),
    ]
    options = {
        "--models": ",".join(MODELS),
        "--truth": str(samples / "labels.json"),
        "--model-store": str(samples / "weights"),
        "--chunk-size": "64",
    }
    arguments = [part for option in options.items() for part in option]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert str(output / "compare.html") in done.stdout.replace("\n", "")
    return output


def test_every_labelled_crop_is_judged_for_every_model(workspace: Path) -> None:
    report = json.loads((workspace / "compare.json").read_text())

    assert report["crops"]["read"] == report["crops"]["with_truth"] == 257
    newer, older, cascade = (model["accuracy"]["exact"]["share"] for model in report["models"])
    assert older < cascade <= newer
    assert all(model["speed"]["device_seconds"] > 0 for model in report["models"])
    assert report["models"][2]["passed_on"] > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_read_and_filtered_on_a_phone_with_the_keyboard(
    scheme: str, workspace: Path, browser: Browser
) -> None:
    # given a phone that is offline
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.on("pageerror", lambda error: loaded.append(str(error)))
    page.goto(f"file://{workspace / 'compare.html'}")

    # when the first model is chosen with the keyboard
    crops = page.locator(".crops > li")
    total = crops.count()
    page.locator("#model").focus()
    page.keyboard.press("ArrowDown")

    # then only its errors are shown
    expect(page.locator("#shown")).to_have_text(f"2 of {total} shown")
    expect(page.locator(".crops > li:not([hidden])")).to_have_count(2)

    # and nothing else was loaded, nothing is cut off, and crops are pictures
    assert [url for url in loaded if not url.startswith("data:")] == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator(".crops > li:not([hidden]) img").first).to_be_visible()
    page.close()


def test_the_report_fits_a_small_screen_and_is_the_picture_of_the_docs(
    workspace: Path, browser: Browser, pictures: Path
) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 900})

    page.goto(f"file://{workspace / 'compare.html'}")

    tables = page.locator(".wide")
    assert tables.count() >= 4
    for table in tables.all():
        assert table.evaluate("table => table.scrollWidth <= table.clientWidth"), table.inner_text()
    # The docs name no folder of a machine.
    page.get_by_text("labels.json").evaluate("name => { name.textContent = 'labels.json'; }")
    page.screenshot(path=pictures / "compare.png")
    page.close()
