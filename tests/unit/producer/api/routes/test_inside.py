"""Inside a job: what was asked for, its chunks, its failed items, page by page."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fakeredis
import msgspec
import pytest
from fastapi.testclient import TestClient

from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.records import ChunkStatistics
from contract.settings import Settings
from contract.workspace import Workspace, open_workspace
from producer.api.routes.inside import flower_page
from producer.api.services import Services
from producer.results import failures as module


def part_of(*codes: str | None) -> bytes:
    """The lines of a part; those with a code failed."""
    lines = [
        RecognitionLine(f"{number}.png", "x", "text", 0.9)
        if code is None
        else ErrorLine(f"{number}.png", f"/crops/{number}.png", Failure(code, "why"), 1)  # type: ignore[arg-type]
        for number, code in enumerate(codes)
    ]
    return b"".join(map(encode_line, lines))


class TestDetails:
    def test_are_what_was_asked_for_and_by_whom(
        self, client: TestClient, body: dict[str, Any], plan: Callable[[], None]
    ) -> None:
        client.post("/jobs", json={**body, "recognition_model": "parseq", "fail_if": ["errors>5%"]})
        plan()

        details = client.get("/jobs/crops-1/details").json()

        assert details["parameters"]["recognition_model"] == "parseq"
        assert details["models"] == [
            {"parameter": "recognition_model", "task": "recognition", "name": "parseq"}
        ]
        assert (details["submitted_by"], details["chunk_size"], details["retries"]) == ("nightly", 2, 0)
        assert details["checks"] == {"fail_if": ["errors>5%"]}
        assert (details["flower"], details["template"], details["read_by"]) == (None, False, [])

    def test_link_to_the_chunks_in_flower(self) -> None:
        search = pytest.importorskip("flower.utils.search")
        address = flower_page("https://flower.example.org/", "recognition", "crops-1")

        assert flower_page(None, "recognition", "crops-1") is None
        assert address is not None
        assert address.startswith("https://flower.example.org/tasks?")
        [name] = parse_qs(urlsplit(address).query)["name"]
        # As Flower's page makes a search of it.
        query = search.parse_query(f"name:{name}")
        assert {(term.field, term.value) for term in query.children} == {
            ("name", "trace_ocr.recognition"),
            ("args", "crops-1"),
        }


class TestChunks:
    @pytest.fixture(autouse=True)
    def planned(self, client: TestClient, body: dict[str, Any], plan: Callable[[], None]) -> None:
        client.post("/jobs", json=body)
        plan()

    def test_wait_run_fail_and_are_done(
        self, client: TestClient, services: Services, body: dict[str, Any], api_settings: Settings, clock: Any
    ) -> None:
        def runs() -> list[Any]:
            return client.get("/jobs/crops-1/chunks").json()["runs"]  # type: ignore[no-any-return]

        ledger = services.ledger
        assert runs() == [["waiting", 2, None]]
        ledger.begin("crops-1", 0, "cpu@a")
        assert runs() == [["running", 1, "cpu@a"], ["waiting", 1, None]]
        ledger._clock = lambda: 1.0
        ledger.progress("crops-1", 0, 1, "cpu@a")
        assert runs() == [["failed", 1, None], ["waiting", 1, None]]
        workspace = open_workspace(body["output"], services.storage)
        workspace.store.create(workspace.part(0), part_of(None, None))
        ledger.mark("crops-1", 0, workspace.outcome(0))
        assert runs() == [["done", 1, None], ["waiting", 1, None]]

    def test_that_were_handed_back_wait(self, client: TestClient, services: Services) -> None:
        services.ledger.begin("crops-1", 0, "cpu@a")
        services.ledger.hand_back("crops-1", 0)

        assert client.get("/jobs/crops-1/chunks").json()["runs"] == [["waiting", 2, None]]


def test_chunks_of_a_job_that_only_storage_knows(
    client: TestClient, complete: Workspace, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.flushall()

    assert client.get("/jobs/crops-1/chunks").json() == {
        "total": 2,
        "cell": 1,
        "done": 2,
        "runs": [["done", 2, None]],
    }


class TestFailures:
    @pytest.fixture
    def running(
        self, client: TestClient, body: dict[str, Any], plan: Callable[[], None], services: Services
    ) -> Workspace:
        """Given a job whose two chunks are done, and that is not merged yet."""
        client.post("/jobs", json=body)
        plan()
        workspace = open_workspace(body["output"], services.storage)
        for chunk, codes in enumerate((("truncated", "not_found"), ("truncated",))):
            workspace.store.create(workspace.part(chunk), part_of(*codes))
            services.ledger.mark("crops-1", chunk, workspace.outcome(chunk))
        return workspace

    @pytest.fixture
    def pages(self, client: TestClient) -> Callable[..., list[list[str]]]:
        """Return the codes of each page."""

        def run(**query: Any) -> list[list[str]]:
            found: list[list[str]] = []
            while not found or query.get("after"):
                page = client.get("/jobs/crops-1/failures", params=query).json()
                found.append([item["code"] for item in page["data"]])
                assert page["has_more"] == (page["next"] is not None)
                query["after"] = page["next"]
            return found

        return run

    @pytest.mark.usefixtures("running")
    def test_of_a_running_job_come_by_code_and_page(self, pages: Callable[..., list[list[str]]]) -> None:
        assert pages() == [["truncated", "not_found", "truncated"]]
        assert pages(code="truncated") == [["truncated", "truncated"]]
        assert pages(code="truncated", limit=1) == [["truncated"], ["truncated"], []]
        assert pages(code="timed_out") == [[]]

    def test_are_counted_by_code_while_the_job_runs(self, client: TestClient, running: Workspace) -> None:
        assert client.get("/jobs/crops-1").json()["error_codes"] == {"not_found": 1, "truncated": 2}

    @pytest.mark.usefixtures("running")
    def test_a_page_reads_only_so_many_parts(
        self, pages: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_PARTS", 1)

        assert pages(code="truncated") == [["truncated"], ["truncated"]]

    @pytest.mark.usefixtures("complete")
    def test_of_a_merged_job_come_from_its_errors(
        self, client: TestClient, pages: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert pages(code="not_an_image") == [["not_an_image"]]
        assert pages(code="truncated") == [[]]
        monkeypatch.setattr(module, "MAX_LINES", 1)
        assert pages(code="truncated") == [[], []]
        assert client.get("/jobs/crops-1").json()["error_codes"] == {"not_an_image": 1}

    @pytest.mark.usefixtures("complete")
    @pytest.mark.parametrize("after", ["p.0.0", "m.0", "m.0.x", "", "m.0.1.2"])
    def test_do_not_continue_where_the_list_has_no_place(self, after: str, client: TestClient) -> None:
        answer = client.get("/jobs/crops-1/failures", params={"after": after})

        assert (answer.status_code, "leave `after` out" in answer.json()["detail"]) == (400, True)


def test_a_headline_has_the_time_of_the_zone_that_is_asked_for(
    client: TestClient, complete: Workspace, services: Services
) -> None:
    def headline(zone: str) -> str:
        return client.get("/jobs/crops-1", params={"timezone": zone}).json()["headline"]  # type: ignore[no-any-return]

    assert headline("Asia/Kolkata") != headline("Asia/Tokyo")
    assert client.get("/jobs/crops-1", params={"timezone": "../etc"}).status_code == 400


def test_a_chunk_that_was_read_names_its_worker(client: TestClient, complete: Workspace) -> None:
    read = ChunkStatistics(1, 1, 0.5, {}, 1, 1.0, worker="cpu@here", ended_at=9.0)
    complete.store.create(complete.statistics(0), msgspec.json.encode(read))

    assert client.get("/jobs/crops-1/chunks/0").json() == {
        "completed": 1,
        "failed": 1,
        "wall_seconds": 0.5,
        "worker": "cpu@here",
        "ended_at": 9.0,
    }
    assert client.get("/jobs/crops-1/chunks/1").status_code == 404
