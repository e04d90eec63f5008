"""Single results over HTTP, for review."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from contract.workspace import Workspace
from producer.api.services import Services
from producer.results.merge import merge
from tests.unit.producer.api.conftest import READ_KEY


def test_results_are_listed_with_the_least_certain_first(client: TestClient, complete: Workspace) -> None:
    page = client.get("/jobs/crops-1/items?limit=1").json()

    assert page["order"] == "confidence"
    assert [(one["id"], one["value"], one["chunk"], one["index"]) for one in page["data"]] == [
        ("3.tif", "three", 1, 0)
    ]
    (second,) = client.get(f"/jobs/crops-1/items?cursor={page['cursor']}").json()["data"]
    assert second["id"] == "1.png"
    assert client.get("/jobs/crops-1/items/0/0").json() == second


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("below=0.85", ["3.tif"]),
        ("at_least=0.85", ["1.png"]),
        ("q=thr", ["3.tif"]),
        ("id=1", ["1.png"]),
        ("code=any", ["2.png"]),
        ("code=truncated", []),
        ("order=source", ["1.png", "3.tif"]),
    ],
)
def test_items_are_selected(query: str, found: list[str], client: TestClient, complete: Workspace) -> None:
    page = client.get(f"/jobs/crops-1/items?{query}").json()

    assert ([one["id"] for one in page["data"]], page["cursor"]) == (found, None)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=nonsense", 400),
        ("order=confidence&q=a", 400),
        ("code=nonsense", 422),
        ("below=nan", 422),
        ("limit=201", 422),
        ("q=", 422),
        ("order=id", 422),
    ],
)
def test_what_cannot_be_listed_is_refused(
    query: str, status: int, client: TestClient, complete: Workspace
) -> None:
    assert client.get(f"/jobs/crops-1/items?{query}").status_code == status


def test_a_job_that_is_not_merged_has_no_items_yet(client: TestClient, complete: Workspace) -> None:
    complete.store.delete(complete.success)

    answer = client.get("/jobs/crops-1/items")

    assert (answer.status_code, "not complete" in answer.json()["detail"]) == (409, True)


def test_a_job_of_an_older_version_says_what_to_do(client: TestClient, complete: Workspace) -> None:
    complete.store.delete(complete.order)

    answer: Any = client.get("/jobs/crops-1/items")

    assert (answer.status_code, "merge it again" in answer.json()["detail"]) == (409, True)


def test_pictures_are_small_jpegs_that_browsers_keep(
    client: TestClient, complete: Workspace, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 100)).save(tmp_path / "crops/3.tif")

    for name in ("pages", "crops"):
        answer = client.get(f"/jobs/crops-1/{name}/1/0.jpg?side=60")
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
            "image/jpeg",
            "private, max-age=3600",
        )
        assert Image.open(io.BytesIO(answer.content)).size == (60, 20)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("0/0.jpg?side=9", 422),
        ("0/0.jpg?side=4001", 422),
        ("0/9.jpg", 404),
        ("7/0.jpg", 404),
        ("0/0.jpg", 404),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    path: str, status: int, client: TestClient, complete: Workspace
) -> None:
    assert client.get(f"/jobs/crops-1/pages/{path}").status_code == status


def wish(**given: Any) -> dict[str, Any]:
    """Return a request that corrects the first crop."""
    return {"corrections": [{"id": "1.png", "chunk": 0, "index": 0, "value": "right", **given}]}


def test_a_correction_names_its_key_and_shows_at_once(client: TestClient, complete: Workspace) -> None:
    answer = client.post("/jobs/crops-1/corrections", json=wish(before="one"))

    assert answer.status_code == 201
    (item,) = answer.json()["data"]
    assert (item["value"], item["value_read"], item["corrected_by"]) == ("right", "one", "nightly")
    assert client.get("/jobs/crops-1/items/0/0").json() == item
    (line,) = client.get("/jobs/crops-1/corrections").text.splitlines()
    kept = json.loads(line)
    assert [kept[name] for name in ("id", "before", "after", "by")] == ["1.png", "one", "right", "nightly"]
    assert client.get("/jobs/crops-1/corrections?format=doctr").json() == {"1.png": "right"}
    assert client.get("/jobs/crops-1/corrections?format=label-studio").json()[0]["data"]["id"] == "1.png"


def test_applied_corrections_are_in_the_results(
    client: TestClient, complete: Workspace, services: Services, plan: Callable[[], None]
) -> None:
    client.post("/jobs/crops-1/corrections", json=wish())

    applied = client.post("/jobs/crops-1/corrections/apply")

    # then control, which finds that nothing is to be read, merges it again
    assert (applied.status_code, applied.json()["status"]) == (200, "in_progress")
    plan()
    assert services.jobs.ledger.next_finished(0.01) == "crops-1"
    merge(complete.require_job(), complete)
    assert json.loads(client.get("/jobs/crops-1/results").text.splitlines()[0])["value"] == "right"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"before": "other"}, 409),
        ({"id": "3.tif"}, 400),
        ({"id": "2.png", "index": 1}, 400),
        ({"word": 0}, 400),
        ({"index": 7}, 404),
        ({"chunk": 7}, 404),
        ({"value": "x" * 4097}, 422),
        ({"value": None}, 422),
        ({"by": "somebody else"}, 422),
        ({"word": -1}, 422),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(
    given: dict[str, Any], status: int, client: TestClient, complete: Workspace
) -> None:
    assert client.post("/jobs/crops-1/corrections", json=wish(**given)).status_code == status
    assert client.get("/jobs/crops-1/corrections").text == ""


def test_a_lone_surrogate_is_no_text(client: TestClient, complete: Workspace) -> None:
    body = json.dumps(wish(value="\ud800"))

    answer = client.post(
        "/jobs/crops-1/corrections", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422


def test_a_key_that_may_only_read_corrects_nothing(anyone: TestClient, complete: Workspace) -> None:
    headers = {"Authorization": f"Bearer {READ_KEY}"}

    for path in ("corrections", "corrections/apply"):
        assert anyone.post(f"/jobs/crops-1/{path}", json=wish(), headers=headers).status_code == 403
    assert anyone.get("/jobs/crops-1/corrections", headers=headers).status_code == 200
