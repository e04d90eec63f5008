"""A comparison from lines to its four files: what it counts and shows, and that no text in it is obeyed."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contract.errors import ErrorCode
from contract.images import decode_rgb
from contract.job import Job, Plan
from contract.kinds.compare import CompareParameters
from contract.kinds.recognition import RecognitionParameters
from contract.lines import (
    CompareLine,
    ErrorLine,
    Failure,
    ModelReading,
    RecognitionLine,
    encode_line,
    encode_lines,
)
from contract.records import ChunkStatistics, Item
from contract.region import Region
from contract.settings import Settings
from contract.source import Source
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results.evaluation.files import Folder
from producer.results.evaluation.pictures import pictures_of
from producer.results.evaluation.workspaces import evaluate
from producer.results.merge import merge
from producer.results.sinks.base import Access

ONE, TWO, BOTH = "small", "large", "small>large@0.9"
HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def line(identity: str, one: str, two: str, label: str | None = None, sure: float = 0.8) -> CompareLine:
    readings = (
        ModelReading(ONE, one, sure),
        ModelReading(TWO, two, 0.95),
        ModelReading(BOTH, two, 0.95, TWO),
    )
    return CompareLine(identity, identity.rpartition("/")[2], readings, label)


LINES = [
    line("a/1.png", "one", "one", "one"),
    line("a/2.png", "tw0", "two", "two"),
    line("b/3.png", "Four", "four", "four", sure=0.99),
    line(HOSTILE, HOSTILE, "x", "y"),
]


@pytest.fixture
def merged(tmp_path: Path) -> Any:
    """Merge a compare job with these lines and parameters; return its workspace."""

    def make(lines: list[CompareLine], **parameters: Any) -> Workspace:
        settings = Settings(allowed_roots=(str(tmp_path),))
        storage = Storage(settings)
        workspace = open_workspace(str(tmp_path / "out"), storage)
        (tmp_path / "crops").mkdir(exist_ok=True)
        (tmp_path / "crops" / "crop.png").write_bytes(PNG)
        items = [Item(one.id, str(tmp_path / "crops" / "crop.png")) for one in lines]
        job = Job(
            id="job-1",
            kind="compare",
            parameters=CompareParameters(models=(ONE, TWO, BOTH), **parameters),
            source=Source(type="folder", uri=str(tmp_path / "crops")),
            chunk_size=100,
            created_at=1_000,
            plan=Plan(chunks=1, items=len(lines)),
        )
        seconds = {f"forward {ONE}": 2.0, f"forward {TWO}": 4.0}
        workspace.save_job(job)
        workspace.store.replace(workspace.chunk(0), encode_lines(items))
        workspace.store.replace(workspace.part(0), encode_lines(lines))
        statistics = ChunkStatistics(len(lines), 0, 1.0, seconds, 1, 1.0)
        workspace.store.replace(workspace.statistics(0), encode_line(statistics))
        merge(job, workspace, access=Access(storage, settings))
        return workspace

    return make


def report_of(workspace: Workspace) -> Any:
    return json.loads(workspace.store.read(workspace.path("compare.json"), 1 << 20))


def html_of(workspace: Workspace) -> str:
    return workspace.store.read(workspace.path("compare.html"), 1 << 20).decode()


def test_each_model_is_measured_and_each_pair_compared(merged: Any) -> None:
    report = report_of(merged(LINES))

    assert [model["accuracy"]["exact"]["right"] for model in report["models"]] == [1, 3, 3]
    assert report["crops"]["with_truth"] == 4
    pair = report["pairs"][0]
    assert (pair["first"], pair["second"], pair["agreement"]) == (ONE, TWO, 0.25)
    assert (pair["only_first_right"], pair["only_second_right"], pair["p_value"]) == (0, 2, 0.5)


def test_a_cascade_costs_its_first_model_and_its_share_of_the_second(merged: Any) -> None:
    speeds = [model["speed"] for model in report_of(merged(LINES))["models"]]

    assert [speed["device_seconds"] for speed in speeds] == [2.0, 4.0, 6.0]
    assert [speed["estimated"] for speed in speeds] == [False, False, True]


def test_accuracy_is_reported_by_folder(merged: Any) -> None:
    groups = report_of(merged(LINES[:3], by="folder"))["models"][0]["accuracy"]["by_group"]

    assert {name: (one["right"], one["total"]) for name, one in groups.items()} == {"a": (1, 2), "b": (0, 1)}


def test_without_a_truth_the_most_contested_crops_come_first(merged: Any) -> None:
    workspace = merged([line("1", "a", "a"), line("2", "a", "b", sure=0.1), line("3", "a", "b", sure=0.9)])

    assert report_of(workspace)["models"][0]["accuracy"] is None
    noted = [json.loads(one) for one in workspace.lines(workspace.path("disagreements.jsonl"))]
    assert [one["id"] for one in noted] == ["2", "3"]
    html = html_of(workspace)
    assert html.index("<bdi>3</bdi>") < html.index("<bdi>2</bdi>")


def test_the_truth_file_of_the_job_counts(merged: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"a/1.png": "other", "none.png": "x"}))

    report = report_of(merged(LINES, truth=str(tmp_path / "labels.json")))

    assert report["models"][1]["accuracy"]["exact"]["right"] == 2
    assert any("1 of 2 entries" in note and "name no item" in note for note in report["notes"])


@pytest.mark.parametrize("where", ["gone.json", "../../etc/hostname"])
def test_a_truth_that_cannot_be_used_any_more_costs_no_results(
    where: str, merged: Any, tmp_path: Path
) -> None:
    workspace = merged(LINES, truth=str(tmp_path / where))

    assert workspace.store.exists(workspace.success)
    assert any("The truth could not be used" in note for note in report_of(workspace)["notes"])


def test_no_text_from_outside_is_obeyed(merged: Any) -> None:
    html = html_of(merged(LINES))

    assert HOSTILE not in html
    assert "<img src=x" not in html
    assert "{{ 7*7 }}" in html
    assert html.count("<script>") == 1


def test_pictures_are_embedded_and_nothing_is_loaded(merged: Any) -> None:
    html = html_of(merged(LINES))

    assert "data:image/png;base64," in html
    assert "default-src &#39;none&#39;" in html
    assert "http://" not in html
    assert "https://" not in html


def test_the_picture_of_a_region_is_cut_out_of_its_page_which_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a page whose right half is blue, with regions in it, outside it, and on a document's page
    page = Image.new("RGB", (400, 100), "white")
    page.paste("blue", (200, 0, 400, 100))
    page.save(tmp_path / "page.png")
    decoded: list[int] = []
    monkeypatch.setattr(
        "producer.results.evaluation.pictures.decode_rgb",
        lambda data, most: decoded.append(most) or decode_rgb(data, most),
    )
    places = {
        "box": Region((200, 10, 300, 60)),
        "share": Region((0.5, 0, 1, 0, 1, 0.5, 0.5, 0.5), "rel"),
        "outside": Region((500, 0, 600, 10)),
    }
    uri = str(tmp_path / "page.png")
    items = [Item(name, uri, region=region) for name, region in places.items()]
    items.append(Item("ledger", str(tmp_path / "ledger.pdf"), page=2, region=places["box"]))
    workspace = open_workspace(str(tmp_path / "out"), Storage(Settings()))
    workspace.store.replace(workspace.chunk(0), encode_lines(items))

    found = pictures_of([(item.id, 0) for item in items], workspace, Storage(Settings()), None)

    box, share = (Image.open(io.BytesIO(base64.b64decode(one.url.partition(",")[2]))) for one in found[:2])
    assert (box.size, share.size) == ((100, 50), (200, 50))
    for cut in (box, share):
        red, _, blue = cut.getpixel((5, 5))  # type: ignore[misc]
        assert (red < 20, blue > 235) == (True, True)
    assert "does not have it" in found[2].missing
    assert "trace-ocr view shows ledger" in found[3].missing
    assert len(decoded) == 1


def test_a_picture_outside_the_roots_is_not_embedded(merged: Any, tmp_path: Path) -> None:
    workspace = merged(LINES)
    job = workspace.require_job()
    elsewhere = Settings(allowed_roots=(str(tmp_path / "out"),))

    merge(job, workspace, access=Access(Storage(elsewhere), elsewhere))

    html = html_of(workspace)
    assert "data:image" not in html
    assert "outside the allowed roots" in html


def test_finished_workspaces_are_evaluated_with_another_truth(merged: Any, tmp_path: Path) -> None:
    workspace = merged(LINES)
    storage = Storage(Settings())
    (tmp_path / "new.json").write_text(json.dumps({one.id: "two" for one in LINES}))
    folder = Folder(str(tmp_path / "report"), storage.at(str(tmp_path)))

    report = evaluate([workspace, workspace], folder, storage, None, str(tmp_path / "new.json"), None, 0.9)

    assert [model.name for model in report.models][:2] == [f"{ONE} (job-1)", f"{TWO} (job-1)"]
    assert len({model.name for model in report.models}) == 6
    assert [model.accuracy and model.accuracy.exact.right for model in report.models] == [0, 1, 1] * 2
    assert report.crops.not_joined == 0


def test_two_months_are_joined_by_id_whatever_their_order_and_form(merged: Any, tmp_path: Path) -> None:
    # given last month's job of one model, and this month's comparison: of its crops one failed, one is new
    last = finished_recognition(
        tmp_path / "last",
        [
            RecognitionLine("b/3.png", "3.png", "five", 0.9),
            ErrorLine("a/1.png", "/a/1.png", Failure(ErrorCode.TRUNCATED, "cut off"), 1),
            RecognitionLine("a/2.png", "2.png", "two", 0.9),
        ],
    )
    now = merged(LINES)
    storage = Storage(Settings())
    folder = Folder(str(tmp_path / "report"), storage.at(str(tmp_path)))

    # when they are evaluated
    report = evaluate([last, now], folder, storage, None, None, None, 0.9)

    # then crops that both have read are compared, and the others are counted
    assert [model.name for model in report.models] == [f"{ONE} (last)", f"{ONE} (job-1)", TWO, BOTH]
    assert [model.accuracy and model.accuracy.exact.right for model in report.models] == [1, 0, 2, 2]
    assert (report.crops.read, report.crops.failed, report.crops.not_joined) == (2, 1, 1)


def finished_recognition(root: Path, lines: list[RecognitionLine | ErrorLine]) -> Workspace:
    """Merge a recognition job with these lines; return its workspace."""
    storage = Storage(Settings())
    workspace = open_workspace(str(root), storage)
    job = Job(
        id=root.name,
        parameters=RecognitionParameters(recognition_model=ONE),
        source=Source(type="folder", uri=str(root)),
        chunk_size=100,
        created_at=1_000,
        plan=Plan(chunks=1, items=len(lines)),
    )
    workspace.save_job(job)
    items = [Item(one.id, str(root / one.id)) for one in lines]
    workspace.store.replace(workspace.chunk(0), encode_lines(items))
    workspace.store.replace(workspace.part(0), encode_lines(lines))
    workspace.store.replace(
        workspace.statistics(0), encode_line(ChunkStatistics(len(lines), 0, 1.0, {"forward": 1.0}, 1, 1.0))
    )
    merge(job, workspace)
    return workspace
