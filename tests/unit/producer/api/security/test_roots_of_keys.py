"""Keys with roots: what lies elsewhere does not exist for them, on any route."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from contract.errors import SettingsError
from contract.settings import Settings
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.api.app import make_app
from producer.api.listing import LOOKED_AT
from producer.api.security.keys import load_keyring, new_key, parse_entry
from producer.api.services import Services
from tests.unit.producer.api.conftest import PIXEL

ROUTES = [
    ("GET", ""),
    ("GET", "/results"),
    ("GET", "/errors"),
    ("GET", "/events"),
    ("GET", "/report"),
    ("GET", "/review"),
    ("GET", "/summary"),
    ("GET", "/details"),
    ("GET", "/chunks"),
    ("GET", "/chunks/0"),
    ("GET", "/failures"),
    ("GET", "/forms"),
    ("GET", "/samples"),
    ("GET", "/images/0/0"),
    ("GET", "/regions/0/0"),
    ("GET", "/items"),
    ("GET", "/items/0/0"),
    ("GET", "/corrections"),
    ("POST", "/corrections"),
    ("POST", "/corrections/apply"),
    ("GET", "/pages/0/0.jpg"),
    ("GET", "/crops/0/0.jpg"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/cancel"),
    ("POST", "/retry-errors"),
]


CORRECTION = {"corrections": [{"id": "1.png", "chunk": 0, "index": 0, "value": "right"}]}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The folder of a team, below the allowed root."""
    (tmp_path / "ours").mkdir()
    return tmp_path / "ours"


@pytest.fixture
def bounded(services: Services, api_settings: Settings, ours: Path) -> Iterator[TestClient]:
    """A client whose key may do everything below the team's folder."""
    key, entry = new_key("team", ["read", "submit"], [str(ours)])
    changed = api_settings.model_copy(update={"api_keys": (*api_settings.api_keys, entry)})
    again = Services(changed, load_keyring(changed))
    with TestClient(make_app(again), headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def test_every_route_of_a_job_is_asked(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    ours = {path.partition("{job_id}")[2] for path in described if "{job_id}" in path}

    named = (path.replace("/0/0", "/{chunk}/{index}") for _, path in ROUTES)
    assert ours == {path.replace("/0", "/{chunk}") for path in named}


@pytest.mark.parametrize("flushed", [False, True], ids=["Redis", "Redis empty"])
def test_a_job_elsewhere_does_not_exist(
    flushed: bool, complete: Workspace, bounded: TestClient, client: TestClient, services: Services
) -> None:
    if flushed:
        services.client.flushall()

    for method, path in ROUTES:
        body = {"json": CORRECTION} if (method, path) == ("POST", "/corrections") else {}
        theirs = bounded.request(method, f"/jobs/crops-1{path}", **body)
        unknown = bounded.request(method, f"/jobs/none{path}", **body)
        assert (theirs.status_code, unknown.status_code) == (404, 404), path
        assert theirs.text.replace("crops-1", "none") == unknown.text
    nothing = {"object": "list", "data": [], "has_more": False, "last_id": None}
    none = {"attention": 0, "running": 0, "ended": 0}
    assert bounded.get("/jobs").json() == {**nothing, "counts": none}
    assert bounded.get("/jobs", params={"after": "crops-1"}).status_code == 404
    assert bounded.get("/metrics").status_code == 403
    assert client.get("/jobs/crops-1").json()["status"] == "completed"


def test_a_job_below_the_roots_is_submitted_seen_and_steered(
    bounded: TestClient, client: TestClient, body: dict[str, Any], ours: Path
) -> None:
    (ours / "1.png").write_bytes(PIXEL)
    client.post("/jobs", json=body)

    made = bounded.post("/jobs", json={"source": str(ours), "output": str(ours / "out"), "job_id": "ours"})

    assert made.status_code == 202, made.text
    assert [job["id"] for job in bounded.get("/jobs").json()["data"]] == ["ours"]
    assert bounded.post("/jobs/ours/cancel").json()["status"] == "cancelling"
    assert {job["id"] for job in client.get("/jobs").json()["data"]} == {"ours", "crops-1"}


@pytest.mark.parametrize("flushed", [False, True], ids=["Redis", "Redis empty"])
def test_a_job_of_several_sources_is_seen_if_all_of_them_lie_below_the_roots(
    flushed: bool,
    bounded: TestClient,
    client: TestClient,
    body: dict[str, Any],
    ours: Path,
    services: Services,
) -> None:
    for name in ("a", "b"):
        (ours / name).mkdir()
        (ours / name / "1.png").write_bytes(PIXEL)
    inside, across = [str(ours / "a"), str(ours / "b")], [str(ours / "a"), body["source"]]

    made = bounded.post("/jobs", json={"source": inside, "output": str(ours / "out"), "job_id": "ours"})
    refused = bounded.post("/jobs", json={"source": across, "output": str(ours / "x")})
    client.post("/jobs", json={"source": across, "output": str(ours / "theirs"), "job_id": "theirs"})
    if flushed:
        services.client.flushall()

    assert (made.status_code, refused.status_code) == (202, 403)
    assert bounded.get("/jobs/ours").json()["source"] == json.dumps(inside, separators=(",", ":"))
    assert bounded.get("/jobs/theirs").status_code == 404
    assert [job["id"] for job in bounded.get("/jobs").json()["data"]] == ["ours"]


@pytest.mark.parametrize("field", ["source", "output"])
@pytest.mark.parametrize("place", ["", "ours-beside", "ours/../theirs", "missing", "link"])
def test_neither_source_nor_output_may_lie_elsewhere(
    field: str, place: str, bounded: TestClient, body: dict[str, Any], ours: Path, tmp_path: Path
) -> None:
    (ours / "link").symlink_to(tmp_path / "crops")
    elsewhere = str(ours / "link") if place == "link" else f"{tmp_path}/{place}"
    request = {"source": str(ours), "output": str(ours / "out"), field: elsewhere}

    refused = bounded.post("/jobs", json=request)

    assert (refused.status_code, "allowed roots of the key" in refused.text) == (403, True)
    assert not (ours / "out").exists()


def test_the_truth_of_a_comparison_may_not_lie_elsewhere(
    bounded: TestClient, client: TestClient, ours: Path, tmp_path: Path
) -> None:
    # given correct texts below the roots of all keys, but not below those of this one
    (ours / "1.png").write_bytes(PIXEL)
    (tmp_path / "labels.json").write_text('{"1.png": "one"}')
    (ours / "link.json").symlink_to(tmp_path / "labels.json")
    request = {"kind": "compare", "source": str(ours), "output": str(ours / "out")}

    for place in (tmp_path / "labels.json", ours / "link.json", tmp_path / "none.json"):
        refused = bounded.post("/jobs", json={**request, "truth": str(place)})
        assert (refused.status_code, "allowed roots of the key" in refused.text) == (403, True), refused.text
    for place in ("/etc/hostname", "/etc/none"):
        refused = client.post("/jobs", json={**request, "truth": place})
        assert (refused.status_code, "allowed roots" in refused.text) == (403, True), refused.text

    # then nothing was written, and truth below the roots is accepted
    assert not (ours / "out").exists()
    (ours / "labels.json").write_text('{"1.png": "one"}')
    assert bounded.post("/jobs", json={**request, "truth": str(ours / "labels.json")}).status_code == 202


@pytest.mark.parametrize("place", ["", "ours-beside", "ours/../theirs", "missing", "link"])
def test_nor_may_regions(
    place: str, bounded: TestClient, body: dict[str, Any], ours: Path, tmp_path: Path
) -> None:
    (ours / "link").symlink_to(tmp_path / "crops")
    elsewhere = str(ours / "link") if place == "link" else f"{tmp_path}/{place}"
    request = {"source": str(ours), "output": str(ours / "out"), "regions": f"page:{elsewhere}"}

    refused = bounded.post("/jobs", json=request)

    assert (refused.status_code, "allowed roots of the key" in refused.text) == (403, True)
    assert not (ours / "out").exists()


def test_no_item_elsewhere_is_read_or_shown(
    bounded: TestClient, body: dict[str, Any], ours: Path, plan: Callable[[], None], services: Services
) -> None:
    # given a manifest below the roots that names a crop which is not
    (ours / "all.jsonl").write_text(json.dumps({"uri": f"{body['source']}/1.png"}) + "\n")
    request = {"source": str(ours / "all.jsonl"), "output": str(ours / "out"), "job_id": "ours"}
    assert bounded.post("/jobs", json=request).status_code == 202
    plan()

    # then the job keeps the roots for the workers, and its image is not served
    assert open_workspace(request["output"], services.storage).require_job().roots == (str(ours),)
    assert bounded.get("/jobs/ours/images/0/0").status_code == 403


def test_the_jobs_of_others_are_passed_over_in_listings(
    bounded: TestClient, services: Services, ours: Path
) -> None:
    for number in range(LOOKED_AT + 5):
        root = ours if number in (0, 1, 2) else ours.parent
        services.jobs.ledger.open(f"job-{number}", str(root / f"{number}"), "recognition", str(root), number)

    first = bounded.get("/jobs", params={"limit": 2}).json()
    second = bounded.get("/jobs", params={"limit": 2, "after": first["last_id"]}).json()

    assert [job["id"] for job in first["data"]] == ["job-2", "job-1"]
    assert [job["id"] for job in second["data"]] == ["job-0"]
    assert not second["has_more"]


def test_a_key_without_roots_sees_all(client: TestClient, complete: Workspace) -> None:
    _, entry = new_key("old", ["read"])

    assert parse_entry(entry).roots is None
    assert client.get("/jobs/crops-1").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_an_entry_names_its_roots() -> None:
    _, entry = new_key("team", ["read"], ["/data/a:b", "s3://bucket/team/"])

    assert entry.endswith(":/data/a:b|s3://bucket/team/")
    assert list(parse_entry(entry).roots or ()) == ["/data/a:b", "s3://bucket/team"]


@pytest.mark.parametrize("roots", ["", "relative", "/a||/b", "http://x/", "s3:/x"])
def test_an_entry_with_other_roots_is_refused(roots: str) -> None:
    with pytest.raises(SettingsError):
        parse_entry(f"team:read:{'0' * 64}:{roots}")


def test_a_root_that_is_not_allowed_is_refused_at_the_start(api_settings: Settings) -> None:
    _, entry = new_key("team", ["read"], ["/elsewhere"])

    with pytest.raises(SettingsError, match="team has the root /elsewhere"):
        load_keyring(api_settings.model_copy(update={"api_keys": (entry,)}))


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (["/data"], ["/data/a", "/data/b"], ["/data/a", "/data/b"]),
        (["/data/a", "/other"], ["/data"], ["/data/a"]),
        (["/data"], ["/data"], ["/data"]),
        (["/data"], ["/data-beside"], []),
        (["s3://bucket"], ["s3://bucket/team/", "/data"], ["s3://bucket/team"]),
        ([], ["/data"], []),
    ],
)
def test_what_two_sets_of_roots_allow(ours: list[str], theirs: list[str], both: list[str]) -> None:
    assert set(AllowedRoots(tuple(ours)).within(theirs)) == set(both)
