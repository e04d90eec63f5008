"""Jobs over HTTP: submitted once, listed newest first, steered, and found with Redis empty."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import pytest
from fastapi.testclient import TestClient

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.kinds import job_parameters
from contract.kinds.compare import CompareParameters
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line, encode_lines
from contract.records import Item, PartOutcome
from contract.region import Region
from contract.settings import Settings
from contract.source import STANDARD_INPUT, Regions, Source
from contract.states import HALTED, LEADS_TO, Action, State
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.api.app import make_app
from producer.api.security.keys import load_keyring, new_key
from producer.api.services import Services
from producer.control.loop import Control
from producer.planning.submit import Dispatcher
from producer.results.merge import merge
from producer.results.sinks import parquet
from tests.unit.producer.api.conftest import KEY, PIXEL, process, read_crops
from tests.unit.producer.conftest import FakeQueue

PAGE_XML = Path(__file__).parents[1].joinpath("regions/samples/page.xml").read_bytes()


class TestSubmitting:
    def test_a_job_is_accepted_at_once_and_planned_by_control(
        self, client: TestClient, body: dict[str, Any], plan: Callable[[], None], queue: FakeQueue
    ) -> None:
        answer = client.post("/jobs", json=body)
        assert answer.status_code == 202
        assert answer.json()["status"] == "validating"
        assert queue.sent == []

        plan()

        assert queue.sent == [0, 1]
        job = client.get("/jobs/crops-1").json()
        assert (job["status"], job["request_counts"]["total"], job["planning"]) == ("in_progress", 3, False)

    def test_a_job_has_the_tenant_of_its_key_and_tells_its_turn(
        self, api_settings: Settings, services: Services, client: TestClient, body: dict[str, Any]
    ) -> None:
        key, entry = new_key("ci", ["read", "submit"], tenant="lab")
        settings = api_settings.model_copy(update={"tenants": ("lab:3",), "api_keys": (entry,)})
        again = Services(settings, load_keyring(settings))
        with TestClient(make_app(again), headers={"Authorization": f"Bearer {key}"}) as caller:
            wanted = {**body, "priority": 7, "deadline": "06:00", "timezone": "Europe/Berlin"}
            answer = caller.post("/jobs", json={**wanted, "at_deadline": "partial"})
            again.ledger.planned("crops-1", 5, 10)
            again.ledger.ready("crops-1", 5)
            job = caller.get("/jobs/crops-1").json()

        assert answer.status_code == 202
        assert (job["tenant"], job["priority"], job["at_deadline"]) == ("lab", 7, "partial")
        assert 0 < job["deadline"] - time.time() <= 25 * 3_600
        line = {"tenant": "lab", "place": 1, "jobs": 1, "items_ahead": 0, "share": 1.0}
        assert job["line"] == line

    def test_a_tenant_with_too_many_items_waiting_submits_no_more_through_any_process(
        self, api_settings: Settings, services: Services, body: dict[str, Any], tmp_path: Path
    ) -> None:
        settings = api_settings.model_copy(update={"tenants": ("default:1::5",)})
        services.ledger.open("first", "/data/first", "recognition", "s", 1)
        services.ledger.planned("first", 3, 5)
        again = Services(settings, load_keyring(settings))
        with TestClient(make_app(again), headers={"Authorization": f"Bearer {KEY}"}) as caller:
            refused = caller.post("/jobs", json=body)
            services.ledger.mark("first", 0, PartOutcome(2, 0))
            accepted = caller.post("/jobs", json=body)

        assert (refused.status_code, accepted.status_code) == (429, 202)
        assert "the tenant default has 5 items waiting" in refused.json()["detail"]
        assert "Retry-After" in refused.headers

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"deadline": "25:00"}, "neither a time of day"),
            ({"deadline": "06:00", "timezone": "x"}, "zone"),
        ],
    )
    def test_a_deadline_that_is_none_is_refused(
        self, given: dict[str, Any], said: str, client: TestClient, body: dict[str, Any]
    ) -> None:
        answer = client.post("/jobs", json={**body, **given})

        assert answer.status_code == 400
        assert said in answer.json()["detail"]

    def test_the_deployments_defaults_fill_omitted_fields(
        self, client: TestClient, body: dict[str, Any], api_settings: Settings, storage: Storage
    ) -> None:
        client.post("/jobs", json={**body, "recognition_model": "parseq"})

        job = open_workspace(body["output"], storage).require_job()
        assert job.parameters.recognition_model == "parseq"
        assert job.parameters.recognition_batch_size == api_settings.recognition_batch_size

    def test_submitting_is_idempotent(self, client: TestClient, body: dict[str, Any]) -> None:
        first, second = client.post("/jobs", json=body), client.post("/jobs", json=body)

        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json()["id"] == second.json()["id"]

    def test_a_key_makes_one_job_of_a_repeated_call(self, client: TestClient, body: dict[str, Any]) -> None:
        del body["job_id"]
        header = {"Idempotency-Key": "night of the 12th"}

        first, second = (client.post("/jobs", json=body, headers=header) for _ in range(2))

        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json()["id"] == second.json()["id"]

    def test_a_key_used_for_another_request_is_refused(
        self, client: TestClient, body: dict[str, Any], tmp_path: Path
    ) -> None:
        header = {"Idempotency-Key": "k"}
        client.post("/jobs", json=body, headers=header)

        answer = client.post("/jobs", json={**body, "output": str(tmp_path / "other")}, headers=header)

        assert answer.status_code == 422

    def test_a_repeated_call_does_not_resume_a_cancelled_job(
        self, client: TestClient, body: dict[str, Any]
    ) -> None:
        header = {"Idempotency-Key": "k"}
        client.post("/jobs", json=body, headers=header)
        client.post("/jobs/crops-1/cancel")

        client.post("/jobs", json=body, headers=header)

        assert client.get("/jobs/crops-1").json()["status"] == "cancelling"

    def test_a_taken_workspace_is_a_conflict(self, client: TestClient, body: dict[str, Any]) -> None:
        client.post("/jobs", json=body)

        assert client.post("/jobs", json={**body, "chunk_size": 3}).status_code == 409

    @pytest.mark.parametrize(
        ("field", "value", "status"),
        [
            ("source", "/etc", 403),
            ("output", "/etc/out", 403),
            ("source", ["/etc", "/etc"], 403),
            ("source", [], 422),
            ("include", ["[z-a]"], 400),
            ("include", ["*"] * 33, 422),
            ("limit", 0, 422),
            ("source", "s3://elsewhere/", 403),
            ("source", "crops", 400),
            ("source", "-", 400),
            ("source", "ftp://example.org/", 400),
            ("source", "https://example.org/", 403),
            ("output", "https://example.org/", 403),
            ("output", "relative", 400),
            ("recognition_model", "tesseract", 422),
            ("recognition_batch_size", 0, 422),
            ("chunk_size", 10**9, 422),
            ("job_id", "../../etc", 422),
            *[
                (field, f"/x{control}y", 422)
                for field in ("source", "output")
                for control in "\0\n\x1b\x7f\x85\x9b\u061c\u200e\u202e\u2066"
            ],
            ("job_id", "x\n", 422),
            ("job_id", "x\u202e", 422),
            ("unknown", 1, 422),
        ],
    )
    def test_an_invalid_request_is_refused(
        self, field: str, value: object, status: int, client: TestClient, body: dict[str, Any]
    ) -> None:
        answer = client.post("/jobs", json={**body, field: value})

        assert answer.status_code == status, answer.text
        assert client.get("/jobs").json()["data"] == []

    @pytest.mark.parametrize("name", ["_SUCCESS", "results.jsonl", "parts/important.csv"])
    def test_an_output_with_files_of_somebody_else_is_a_conflict_and_stays_as_it_is(
        self, name: str, client: TestClient, body: dict[str, Any], tmp_path: Path, fake_redis: Any
    ) -> None:
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"theirs")
        header = {"Idempotency-Key": "k"}

        answer = client.post("/jobs", json=body, headers=header)

        assert answer.status_code == 409
        assert name in answer.json()["detail"]
        assert client.get("/jobs/crops-1").status_code == 404
        assert [path for path in tmp_path.rglob("*") if path.is_file() and "crops" not in path.parts] == [
            path
        ]
        # and the same key may be used for the corrected request
        corrected = {**body, "output": str(tmp_path / "other")}
        assert client.post("/jobs", json=corrected, headers=header).status_code == 202

    def test_a_foreign_marker_in_a_workspace_neither_ends_nor_stops_the_job(
        self, client: TestClient, body: dict[str, Any], plan: Callable[[], None], tmp_path: Path
    ) -> None:
        client.post("/jobs", json=body)
        for name in ("_SUCCESS", "results.jsonl", "summary.json"):
            (tmp_path / "out" / name).write_bytes(b"")

        plan()

        assert client.get("/jobs/crops-1").json()["status"] == "in_progress"
        assert client.get("/jobs/crops-1/results").status_code == 409
        assert client.post("/jobs/crops-1/retry-errors").status_code == 409

    def test_the_id_of_a_finished_job_cannot_be_taken_even_if_redis_forgot_it(
        self, client: TestClient, body: dict[str, Any], complete: Workspace, fake_redis: Any, tmp_path: Path
    ) -> None:
        for forget in (lambda: None, fake_redis.flushall):
            forget()
            answer = client.post("/jobs", json={**body, "output": str(tmp_path / "other")})

            assert answer.status_code == 409
            assert not (tmp_path / "other").exists()
            assert client.get("/jobs/crops-1").json()["workspace"] == complete.root
        assert len(list((tmp_path / ".trace-ocr/jobs").iterdir())) == 1

    @pytest.mark.parametrize("name", job_parameters())
    def test_a_parameter_that_is_null_is_one_that_is_omitted(
        self, name: str, client: TestClient, body: dict[str, Any]
    ) -> None:
        assert client.post("/jobs", json={**body, name: None}).status_code == 202

    def test_regions_of_pages_become_items(
        self,
        client: TestClient,
        body: dict[str, Any],
        plan: Callable[[], None],
        tmp_path: Path,
        storage: Storage,
    ) -> None:
        (tmp_path / "1.xml").write_bytes(PAGE_XML)
        request = {**body, "regions": f"page:{tmp_path}/1.xml", "level": "word"}

        assert client.post("/jobs", json=request).status_code == 202
        plan()

        workspace = open_workspace(body["output"], storage)
        assert workspace.require_job().source.regions == Regions(
            format="page", uri=f"{tmp_path}/1.xml", level="word"
        )
        assert [item.id for item in workspace.items(0)] == ["0001.png#r=w1", "0001.png#r=w2"]

    def test_the_texts_of_a_job_are_written_back_into_a_copy_of_its_regions(
        self,
        client: TestClient,
        body: dict[str, Any],
        plan: Callable[[], None],
        services: Services,
        dispatcher: Dispatcher,
        tmp_path: Path,
    ) -> None:
        # given a job over HTTP with regions, of which a worker has read every word
        (tmp_path / "1.xml").write_bytes(PAGE_XML)
        Path(body["source"], "0001.png").write_bytes(PIXEL)
        asked = {"regions": f"page:{tmp_path}/1.xml", "level": "word", "exports": ["write_back"]}
        assert client.post("/jobs", json={**body, **asked}).status_code == 202
        plan()
        workspace = open_workspace(body["output"], services.storage)
        for chunk in range(workspace.require_job().chunks):
            lines = [RecognitionLine(item.id, item.name, "read", 0.5) for item in workspace.items(chunk)]
            workspace.store.create(workspace.part(chunk), encode_lines(lines))

        # when control merges it
        ledger, settings = services.jobs.ledger, services.settings
        Control(services.client, ledger, services.storage, dispatcher, settings).look_at_all()

        # then the job is complete, and the copy has the texts
        assert client.get("/jobs/crops-1").json()["status"] == "completed"
        assert Path(body["output"], "exports/1.xml").read_bytes().count(b">read<") == 2
        assert b">read<" not in (tmp_path / "1.xml").read_bytes()

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"regions": "page"}, "give FORMAT:PATH"),
            ({"regions": "page:boxes"}, "must be absolute"),
            ({"regions": "page:/etc"}, "outside the allowed roots"),
            ({"regions": "page:HERE", "level": "glyph"}, "'region', 'line' or 'word'"),
            ({"regions": "page:HERE", "categories": ["text"]}, "have no categories"),
            ({"exports": ["write_back"]}, "give --regions"),
            ({"regions": "page:HERE", "categories": ["x"] * 101}, "at most 100 items"),
            ({"regions": "page:HERE", "kind": "ocr"}, "ocr jobs find the regions of pages themselves"),
            ({"level": "word"}, "give FORMAT:PATH of those too"),
        ],
    )
    def test_regions_that_cannot_be_read_are_refused(
        self, client: TestClient, body: dict[str, Any], tmp_path: Path, changes: dict[str, Any], said: str
    ) -> None:
        given = {**changes}
        if "regions" in given:
            given["regions"] = given["regions"].replace("HERE", str(tmp_path))

        refused = client.post("/jobs", json={**body, **given})

        assert refused.status_code in (400, 403, 422)
        assert said in refused.text
        assert not Path(body["output"]).exists()

    def test_a_source_outside_the_roots_is_refused_before_it_is_accessed(
        self, client: TestClient, body: dict[str, Any]
    ) -> None:
        there, missing = (
            client.post("/jobs", json={**body, "source": source}).json() for source in ("/etc", "/etc/none")
        )

        assert there["detail"].replace("/etc", "") == missing["detail"].replace("/etc/none", "")


class TestLooking:
    def test_listings_are_newest_first_and_continue_where_the_last_one_ended(
        self, client: TestClient, services: Services
    ) -> None:
        for number in range(5):
            services.jobs.ledger.open(f"job-{number}", f"/data/{number}", "recognition", "s", number)

        first = client.get("/jobs", params={"limit": 2}).json()
        second = client.get("/jobs", params={"limit": 2, "after": first["last_id"]}).json()
        last = client.get("/jobs", params={"limit": 2, "after": second["last_id"]}).json()

        assert [[job["id"] for job in page["data"]] for page in (first, second, last)] == [
            ["job-4", "job-3"],
            ["job-2", "job-1"],
            ["job-0"],
        ]
        assert [page["has_more"] for page in (first, second, last)] == [True, True, False]

    def test_only_jobs_of_the_status_asked_for(self, client: TestClient, services: Services) -> None:
        for number in range(3):
            services.jobs.ledger.open(f"job-{number}", f"/data/{number}", "recognition", "s", number)
        services.jobs.ledger.hold("job-1", "paused")

        page = client.get("/jobs", params={"status": "paused"}).json()

        assert [job["id"] for job in page["data"]] == ["job-1"]

    def test_the_callers_words_are_shown_and_jobs_are_found_by_them(
        self, client: TestClient, body: dict[str, Any], services: Services
    ) -> None:
        client.post("/jobs", json={**body, "tags": ["night", "eu"], "metadata": {"ticket": "OCR-12"}})
        services.jobs.ledger.open("other", "/data/other", "recognition", "s", 9, ["night"])

        def found(**query: object) -> list[str]:
            return [job["id"] for job in client.get("/jobs", params=query).json()["data"]]  # type: ignore[arg-type]

        job = client.get("/jobs/crops-1").json()
        assert (job["tags"], job["metadata"]) == (["night", "eu"], {"ticket": "OCR-12"})
        assert found(tag="night") == ["crops-1", "other"]
        assert found(tag=["night", "eu"]) == ["crops-1"]
        assert found(created_from="1970-01-01T00:01Z") == ["crops-1"]
        assert found(created_before=9) == []
        assert found(tenant="default") == ["crops-1", "other"]
        assert found(tenant="labs") == []
        assert found(created_before="1970-01-01T01:00:10+01:00") == ["other"]

    def test_a_later_submission_may_change_the_callers_words(
        self, client: TestClient, body: dict[str, Any]
    ) -> None:
        client.post("/jobs", json={**body, "tags": ["first"]})

        assert client.post("/jobs", json={**body, "tags": ["second"]}).json()["tags"] == ["second"]
        assert client.post("/jobs", json=body).json()["tags"] == ["second"]

    @pytest.mark.parametrize(
        "words",
        [{"tags": ["a b"]}, {"tags": ["a"] * 17}, {"metadata": {"a": "x" * 513}}, {"metadata": {"": ""}}],
    )
    def test_words_are_bounded(self, words: dict[str, Any], client: TestClient, body: dict[str, Any]) -> None:
        assert client.post("/jobs", json={**body, **words}).status_code == 422

    @pytest.mark.parametrize(
        "path", ["", "/results", "/errors", "/events", "/samples", "/images/0/0", "/regions/0/0", "/items"]
    )
    def test_an_unknown_job_is_not_found(self, path: str, client: TestClient) -> None:
        assert client.get(f"/jobs/none{path}").status_code == 404

    def test_with_redis_empty_everything_comes_from_storage(
        self, client: TestClient, complete: Workspace, fake_redis: fakeredis.FakeRedis
    ) -> None:
        fake_redis.flushall()

        job = client.get("/jobs/crops-1").json()
        assert job["status"] == "completed"
        assert job["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
        assert [error["code"] for error in job["recent_errors"]] == ["not_an_image"]
        assert [one["id"] for one in client.get("/jobs").json()["data"]] == ["crops-1"]
        assert client.get("/jobs/crops-1/results").status_code == 200

    def test_a_running_job_shows_rates_stages_and_errors(
        self, client: TestClient, job: Job, services: Services, workspace: Workspace
    ) -> None:
        ledger: Ledger = services.jobs.ledger
        ledger.open(job.id, workspace.root, "recognition", "s", 1)
        ledger.plan_done(job.id, 3, 6)
        bad = encode_line(ErrorLine("7.png", "/crops/7.png", Failure("truncated", "cut"), 1))  # type: ignore[arg-type]
        workspace.store.create(workspace.part(1), bad * 2)
        for chunk in (0, 1):
            workspace.store.replace(workspace.part(chunk), bad * 2)
            ledger.mark(
                job.id, chunk, workspace.outcome(chunk), worker="gpu0@host", stage_seconds={"forward": 0.5}
            )

        status = client.get(f"/jobs/{job.id}").json()

        assert status["stage_seconds"] == {"forward": 1.0}
        assert [worker["name"] for worker in status["workers"]] == ["gpu0@host"]
        assert status["recent_errors"][0] == {
            "id": "7.png",
            "uri": "/crops/7.png",
            "code": "truncated",
            "message": "cut",
        }
        assert [items for _, items, _ in status["rate"]] == [2, 2]

    def test_events_send_the_status_and_end_with_the_job(
        self, client: TestClient, complete: Workspace
    ) -> None:
        events = client.get("/jobs/crops-1/events")

        assert events.headers["content-type"].startswith("text/event-stream")
        (data,) = [line for line in events.text.splitlines() if line.startswith("data: ")]
        assert json.loads(data.removeprefix("data: "))["status"] == "completed"

    def test_without_redis_health_says_so_and_storage_is_still_used(
        self, client: TestClient, complete: Workspace, fake_server: fakeredis.FakeServer
    ) -> None:
        fake_server.connected = False

        assert client.get("/jobs/crops-1").json()["status"] == "completed"
        assert client.post("/jobs/crops-1/pause").status_code in (409, 503)
        assert client.get("/health").json()["checks"]["redis"]["ok"] is False


class TestTraces:
    def test_the_callers_trace_is_carried_in_the_job(
        self, client: TestClient, body: dict[str, Any], services: Services
    ) -> None:
        caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

        client.post("/jobs", json=body, headers={"traceparent": caller}).raise_for_status()

        traceparent = open_workspace(body["output"], services.storage).require_job().traceparent
        assert traceparent
        assert traceparent[:35] == caller[:35]


class TestNotify:
    def test_a_receiver_is_kept_with_the_job_and_never_shown(
        self, client: TestClient, body: dict[str, Any], services: Services
    ) -> None:
        url = "https://hooks.example.org/T0/token-of-mine"

        answer = client.post("/jobs", json={**body, "notify": [url]})

        assert open_workspace(body["output"], services.storage).require_job().notify == (url,)
        assert answer.status_code == 202
        assert "token-of-mine" not in answer.text + client.get("/jobs/crops-1").text

    @pytest.mark.parametrize("url", ["slack://T0/B0/token-of-mine", "http://a:b@c/", "ftp://x/", "x" * 3000])
    def test_a_receiver_that_only_control_may_have_is_refused(
        self, url: str, client: TestClient, body: dict[str, Any]
    ) -> None:
        answer = client.post("/jobs", json={**body, "notify": [url]})

        assert answer.status_code in (400, 422)


class TestQuality:
    def test_readings_in_doubt_are_lines_like_any_other_and_the_summary_says_how_many(
        self, client: TestClient, body: dict[str, Any], plan: Callable[[], None], services: Services
    ) -> None:
        client.post("/jobs", json={**body, "min_confidence": 1, "fail_if": ["review>0"]}).raise_for_status()
        plan()
        workspace = open_workspace(body["output"], services.storage)
        read_crops(workspace, services.jobs.ledger)
        merge(workspace.require_job(), workspace)

        lines = client.get("/jobs/crops-1/review", params={"limit": 1}).text.splitlines()
        summary = client.get("/jobs/crops-1/summary").json()

        assert [json.loads(line)["reasons"] for line in lines] == [["confidence"]]
        assert summary["review"]["items"] == 2
        assert summary["broken_rules"] == ["review>0: 2 of 2, 100.00%"]

    def test_a_job_without_checks_has_no_review(self, client: TestClient, complete: Workspace) -> None:
        assert client.get("/jobs/crops-1/review").status_code == 404

    @pytest.mark.parametrize(
        "checks",
        [
            {"expect": "("},
            {"min_confidence": "/etc"},
            {"kind": "detection", "expect": "x"},
            {"fail_if": ["x"]},
        ],
    )
    def test_checks_that_cannot_be_used_are_refused(
        self, checks: dict[str, Any], client: TestClient, body: dict[str, Any]
    ) -> None:
        assert client.post("/jobs", json={**body, **checks}).status_code in (400, 403, 422)


class TestFiles:
    def test_lines_wait_for_the_merge(self, client: TestClient, body: dict[str, Any]) -> None:
        client.post("/jobs", json=body)

        assert client.get("/jobs/crops-1/results").status_code == 409

    def test_only_compare_jobs_have_a_report(self, client: TestClient, complete: Workspace) -> None:
        assert client.get("/jobs/crops-1/report").status_code == 404

    @pytest.fixture
    def compared(self, complete: Workspace) -> None:
        """Given a compare job with its report."""
        job = complete.require_job()
        models = CompareParameters()
        complete.save_job(job.model_copy(update={"kind": "compare", "parameters": models}))
        for name, text in (("html", "<!doctype html>"), ("json", "{}"), ("csv", "model,exact")):
            complete.store.replace(complete.path(f"compare.{name}"), text.encode())

    @pytest.mark.parametrize(
        ("query", "accept", "start"),
        [
            ("", "*/*", "<!doctype html>"),
            ("", "text/html,application/xhtml+xml,*/*;q=0.8", "<!doctype html>"),
            ("", "application/json", "{"),
            ("", "text/html;q=0.2, text/csv;q=0.5", "model,"),
            ("", "text/*, text/html;q=0", "model,"),
            ("?format=json", "text/html", "{"),
            ("?format=csv", "image/png", "model,"),
        ],
    )
    def test_a_report_has_the_form_that_is_asked_for_and_is_sandboxed(
        self, query: str, accept: str, start: str, client: TestClient, compared: None
    ) -> None:
        path, headers = f"/jobs/crops-1/report{query}", {"accept": accept}

        answer, head = client.get(path, headers=headers), client.head(path, headers=headers)

        assert answer.text.startswith(start)
        assert "sandbox allow-scripts; default-src 'none'" in answer.headers["content-security-policy"]
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == answer.headers["content-type"]

    def test_a_form_that_no_report_has_is_refused_with_those_that_it_has(
        self, client: TestClient, compared: None
    ) -> None:
        answer = client.get("/jobs/crops-1/report", headers={"accept": "application/pdf, text/html;q=0"})

        assert answer.status_code == 406
        assert "text/html, application/json, text/csv" in answer.text

    def test_results_and_errors_are_the_merged_files(self, client: TestClient, complete: Workspace) -> None:
        results, errors = (client.get(f"/jobs/crops-1/{name}") for name in ("results", "errors"))

        assert [json.loads(line)["value"] for line in results.text.splitlines()] == ["one", "three"]
        assert [json.loads(line)["id"] for line in errors.text.splitlines()] == ["2.png"]
        assert results.headers["content-type"] == "application/jsonl"

    @pytest.mark.parametrize(
        ("accept", "name", "media_type"),
        [
            ("application/vnd.apache.parquet", "results.parquet", "application/vnd.apache.parquet"),
            ("text/csv", "results.csv", "text/csv; charset=utf-8"),
            ("application/x-ndjson", "results.jsonl", "application/x-ndjson"),
            ("text/html, */*;q=0.8", "results.jsonl", "application/jsonl"),
            # Nobody is refused who was not before there were several formats.
            ("image/png", "results.jsonl", "application/jsonl"),
        ],
    )
    def test_a_job_is_answered_in_the_accepted_format_that_it_wrote(
        self, accept: str, name: str, media_type: str, client: TestClient, columns: None, complete: Workspace
    ) -> None:
        answer = client.get("/jobs/crops-1/results", headers={"accept": accept})

        assert answer.content == Path(complete.root, name).read_bytes()
        assert answer.headers["content-type"] == media_type
        assert answer.headers["vary"].startswith("accept")

    def test_ranges_and_etags_are_of_the_format(
        self, client: TestClient, columns: None, complete: Workspace
    ) -> None:
        whole = {one: client.get(f"/jobs/crops-1/errors?format={one}") for one in ("jsonl", "parquet", "csv")}
        last = client.get("/jobs/crops-1/errors?format=parquet", headers={"range": "bytes=-4"})

        assert (last.status_code, last.content) == (206, b"PAR1")
        assert len({answer.headers["etag"] for answer in whole.values()}) == len(whole)
        assert last.headers["etag"] == whole["parquet"].headers["etag"]

    @pytest.mark.parametrize("asked", [{"headers": {"accept": "text/csv"}}, {"params": {"format": "csv"}}])
    def test_a_format_that_the_job_did_not_write_is_refused_with_how_to_ask_for_it(
        self, asked: dict[str, Any], client: TestClient, complete: Workspace
    ) -> None:
        answer = client.get("/jobs/crops-1/results", **asked)

        assert answer.status_code == 406
        assert "wrote its results as jsonl, not as csv: name csv in `results`" in answer.text

    def test_lines_of_parquet_are_not_counted(
        self, client: TestClient, columns: None, complete: Workspace
    ) -> None:
        answer = client.get("/jobs/crops-1/results?format=parquet&limit=1")

        assert answer.status_code == 400
        assert "offset and limit count lines of JSONL" in answer.text

    def test_several_files_are_numbered_and_name_the_next_one(
        self,
        client: TestClient,
        columns: None,
        monkeypatch: pytest.MonkeyPatch,
        request: pytest.FixtureRequest,
    ) -> None:
        monkeypatch.setitem(parquet.FILE_ITEMS, "crop", 2)
        request.getfixturevalue("complete")
        url = "/jobs/crops-1/results?format=parquet"

        first, second = (client.get(f"{url}&file={number}") for number in (0, 1))

        assert first.headers["link"] == '<?format=parquet&file=1>; rel="next"'
        assert "link" not in second.headers
        assert first.content != second.content
        assert "ask for file=0 to file=1" in client.get(url).text
        assert client.get(f"{url}&file=2").status_code == 400

    def test_csv_of_pages_is_refused(self, client: TestClient, body: dict[str, Any]) -> None:
        answer = client.post("/jobs", json={**body, "kind": "ocr", "results": ["csv"]})

        assert answer.status_code == 400
        assert "results: ocr jobs cannot write csv, compare and recognition jobs can" in answer.text

    @pytest.mark.parametrize(
        ("header", "status", "part"),
        [
            ("bytes=0-9", 206, slice(0, 10)),
            ("bytes=10-", 206, slice(10, None)),
            ("bytes=-5", 206, slice(-5, None)),
            ("bytes=5-99999", 206, slice(5, None)),
            ("bytes=9-3", 200, slice(None)),
            ("bytes=0-1,3-4", 200, slice(None)),
            ("lines=0-1", 200, slice(None)),
            ("bytes=-", 200, slice(None)),
        ],
    )
    def test_a_range_of_bytes(
        self, header: str, status: int, part: slice, client: TestClient, complete: Workspace
    ) -> None:
        whole = Path(complete.results).read_bytes()

        answer = client.get("/jobs/crops-1/results", headers={"Range": header})

        assert (answer.status_code, answer.content) == (status, whole[part])

    @pytest.mark.parametrize("header", ["bytes=99999-", "bytes=-0"])
    def test_a_range_beyond_the_end_cannot_be_satisfied(
        self, header: str, client: TestClient, complete: Workspace
    ) -> None:
        answer = client.get("/jobs/crops-1/results", headers={"Range": header})

        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(Path(complete.results).read_bytes())}"

    def test_a_range_of_another_version_gets_the_whole_file(
        self, client: TestClient, complete: Workspace
    ) -> None:
        whole = client.get("/jobs/crops-1/results")

        for etag, status in ((whole.headers["etag"], 206), ('"older"', 200)):
            header = {"Range": "bytes=1-", "If-Range": etag}
            assert client.get("/jobs/crops-1/results", headers=header).status_code == status

    @pytest.mark.parametrize(
        ("offset", "limit", "values"), [(0, 1, ["one"]), (1, None, ["three"]), (1, 5, ["three"]), (2, 1, [])]
    )
    def test_some_lines(
        self, offset: int, limit: int | None, values: list[str], client: TestClient, complete: Workspace
    ) -> None:
        params = {"offset": offset, **({"limit": limit} if limit else {})}

        text = client.get("/jobs/crops-1/results", params=params).text

        assert [json.loads(line)["value"] for line in text.splitlines()] == values

    @pytest.mark.parametrize("block", [1, 2, 7, 1000])
    def test_any_lines_of_a_long_file(
        self, block: int, client: TestClient, complete: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a file of many blocks and marks
        monkeypatch.setattr("producer.api.lines.BLOCK", block)
        monkeypatch.setattr("producer.results.line_index.MARK_BYTES", 16)
        lines = [f"{number}" * (number % 4) for number in range(30)]
        complete.store.replace(complete.results, "".join(f"{line}\n" for line in lines).encode())

        for offset in (0, 1, 14, 28, 29, 30, 99):
            for limit in (None, 1, 2, 15, 99):
                params = {"offset": offset, **({"limit": limit} if limit else {})}
                got = client.get("/jobs/crops-1/results", params=params).text
                wanted = lines[offset : None if limit is None else offset + limit]
                assert got == "".join(f"{line}\n" for line in wanted), (offset, limit)

    def test_samples_come_with_their_images(self, client: TestClient, complete: Workspace) -> None:
        sample, *_ = client.get("/jobs/crops-1/samples").json()["data"]
        assert (sample["id"], sample["value"]) == ("3.tif", "three")

        # then an image is served with its media type; other formats are not served
        image = client.get("/jobs/crops-1/images/0/0")
        assert (image.content, image.headers["content-type"]) == (PIXEL, "image/png")
        assert image.headers["x-content-type-options"] == "nosniff"
        assert client.get(sample["image"]).status_code == 415

    def test_samples_of_regions_name_their_corners_and_the_regions_beside_them(
        self, client: TestClient, complete: Workspace
    ) -> None:
        # given that the items of the first chunk are regions of one page
        page = str(Path(complete.items(0)[0].uri))
        boxes = Region((1, 2, 3, 4)), Region((0.0, 0.0, 1.0, 0.0, 1.0, 1.0), "rel", "total")
        items = [
            Item(name, page, region=region) for name, region in zip(("1.png", "2.png"), boxes, strict=True)
        ]
        complete.store.replace(complete.chunk(0), b"".join(map(encode_line, items)))

        sample = client.get("/jobs/crops-1/samples").json()["data"][-1]

        assert sample["region"] == {"corners": [[1, 2], [3, 2], [3, 4], [1, 4]], "unit": "px"}
        assert client.get(sample["image"]).content == PIXEL
        first, second = client.get(sample["regions"]).json()["data"]
        assert (first["value"], first["error"]) == ("one", None)
        assert (second["value"], second["error"]) == (None, "not_an_image: no image")
        assert second["region"] == {"corners": [[0, 0], [1, 0], [1, 1]], "unit": "rel"}

    @pytest.mark.parametrize("place", ["0/2", "7/0"])
    def test_there_is_no_image_where_there_is_no_item(
        self, place: str, client: TestClient, complete: Workspace
    ) -> None:
        assert client.get(f"/jobs/crops-1/images/{place}").status_code == 404

    def test_an_item_outside_the_roots_is_not_shown(self, client: TestClient, complete: Workspace) -> None:
        complete.store.replace(complete.chunk(0), b'{"id":"x","uri":"/etc/passwd"}\n')

        assert client.get("/jobs/crops-1/images/0/0").status_code == 403

    def test_an_item_that_the_worker_refuses_since_it_is_outside_its_source_is_not_shown(
        self, client: TestClient, complete: Workspace, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.png").write_bytes(PIXEL)
        image = tmp_path / "crops" / "1.png"
        image.unlink()
        image.symlink_to(tmp_path / "secret.png")

        assert client.get("/jobs/crops-1/images/0/0").status_code == 403

    @pytest.mark.parametrize("path", ["results", "errors"])
    def test_a_link_in_place_of_a_merged_file_is_not_followed(
        self, path: str, client: TestClient, complete: Workspace, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        merged = Path(complete.root, f"{path}.jsonl")
        merged.unlink()
        merged.symlink_to(tmp_path / "secret")

        for query in ("", "?limit=1"):
            assert client.get(f"/jobs/crops-1/{path}{query}").status_code == 404

    @pytest.mark.parametrize("name", ["parts", "chunks", "."])
    def test_a_folder_of_a_workspace_that_became_a_link_is_not_followed(
        self, name: str, client: TestClient, complete: Workspace, tmp_path: Path
    ) -> None:
        folder = Path(complete.root) / name
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")

        samples = client.get("/jobs/crops-1/samples").json().get("data")

        assert bool(samples) is (name == "chunks")
        assert (client.get("/jobs/crops-1/images/0/0").status_code == 200) is (name == "parts")


class TestSteering:
    def test_pause_resume_and_cancel(self, client: TestClient, body: dict[str, Any]) -> None:
        client.post("/jobs", json=body)

        statuses = [
            client.post(f"/jobs/crops-1/{verb}").json()["status"] for verb in ("pause", "resume", "cancel")
        ]

        assert statuses == ["paused", "validating", "cancelling"]

    def test_a_job_that_redis_has_lost_continues_once_it_is_resumed(
        self,
        client: TestClient,
        body: dict[str, Any],
        plan: Callable[[], None],
        queue: FakeQueue,
        fake_redis: fakeredis.FakeRedis,
    ) -> None:
        client.post("/jobs", json=body)
        plan()
        assert client.get("/jobs/crops-1").json()["actions"] == ["pause", "cancel"]

        fake_redis.flushall()
        queue.sent.clear()

        assert client.get("/jobs/crops-1").json()["actions"] == ["pause", "resume", "cancel"]
        client.post("/jobs/crops-1/resume")
        plan()
        assert queue.sent == [0, 1]

    def test_failed_items_are_read_again(
        self, client: TestClient, complete: Workspace, plan: Callable[[], None], queue: FakeQueue
    ) -> None:
        queue.sent.clear()

        answer = client.post("/jobs/crops-1/retry-errors")
        plan()

        assert answer.status_code == 200
        assert queue.sent == [2]
        assert complete.items(2)[0].id == "2.png"

    def test_a_job_from_standard_input_is_not_resumed_here_before_it_is_planned(
        self, client: TestClient, job: Job, workspace: Workspace, services: Services
    ) -> None:
        job = job.model_copy(update={"source": Source(type="manifest", uri=STANDARD_INPUT)})
        workspace.save_job(job)
        workspace.halt(State.FAILED)
        services.jobs.index.note(job, workspace)

        assert client.get(f"/jobs/{job.id}").json()["actions"] == ["cancel"]
        answer = client.post(f"/jobs/{job.id}/resume")
        assert (answer.status_code, "standard input" in answer.json()["detail"]) == (409, True)


class TestWhatIsAllowed:
    """`actions` match what the endpoints do, in every state, with and without Redis."""

    @pytest.fixture
    def bring(
        self,
        client: TestClient,
        body: dict[str, Any],
        plan: Callable[[], None],
        services: Services,
        fake_redis: fakeredis.FakeRedis,
        tmp_path: Path,
    ) -> Callable[[str, State], None]:
        """Submit a job and bring it into a state, both in its workspace and in the ledger."""
        ledger = services.jobs.ledger

        def bring(identity: str, state: State) -> None:
            output = str(tmp_path / identity)
            fake_redis.delete("trace-ocr:submitted")  # what the action before has asked control for
            client.post("/jobs", json={**body, "job_id": identity, "output": output}).raise_for_status()
            if state is State.VALIDATING:
                return
            plan()
            workspace = open_workspace(output, services.storage)
            if state in {State.FINALIZING, State.COMPLETED}:
                read_crops(workspace, ledger)
            if state is State.COMPLETED:
                merge(workspace.require_job(), workspace)
                ledger.finish(identity, state, 60)
            if state in HALTED:
                workspace.halt(state)
            if state is State.CANCELLING:
                workspace.halt(State.CANCELLED)
            if state in {State.PAUSED, State.CANCELLING}:
                ledger.hold(identity, state)
            if state in {State.FAILED, State.CANCELLED}:
                ledger.finish(identity, state, 60)

        return bring

    @pytest.mark.parametrize("flushed", [False, True], ids=["Redis", "Redis empty"])
    @pytest.mark.parametrize("state", State)
    def test_each_action_is_accepted_if_it_is_offered_or_has_happened(
        self,
        state: State,
        flushed: bool,
        client: TestClient,
        bring: Callable[[str, State], None],
        fake_redis: fakeredis.FakeRedis,
    ) -> None:
        for action in Action:
            identity = f"job-{action}"
            bring(identity, state)
            if flushed:
                fake_redis.flushall()
            job = client.get(f"/jobs/{identity}").json()
            assert flushed or job["status"] == state

            answer = client.post(f"/jobs/{identity}/{action}")

            now, happened = State(job["status"]), State(job["status"]) in LEADS_TO[action]
            if action in job["actions"]:
                assert answer.status_code == 200
                assert answer.json()["status"] != now or flushed
            elif happened and action is not Action.RETRY_ERRORS:
                assert (answer.status_code, answer.json()["status"]) == (200, now)
            elif action is Action.REMOVE:
                assert answer.status_code in {404, 405}
            else:
                assert answer.status_code == 409
                assert f"job {identity} is {now.words}: it can be " in answer.json()["detail"]
                assert client.get(f"/jobs/{identity}").json()["status"] == now


def test_a_job_says_what_it_waits_for(
    client: TestClient, body: dict[str, Any], plan: Callable[[], None], services: Services
) -> None:
    client.post("/jobs", json=body)
    plan()
    alone = client.get("/jobs/crops-1").json()["waiting_for"]

    services.reports.write(msgspec.structs.replace(process("worker", "w"), activity="loading parseq"))

    assert alone == "a worker: none is alive"
    assert "loading parseq" in client.get("/jobs/crops-1").json()["waiting_for"]


# dry runs


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(
    client: TestClient, body: dict[str, Any], services: Services
) -> None:
    (Path(body["source"]) / "notes.txt").write_text("no image")

    answer = client.post("/jobs?dry_run=true", json=body)

    found = answer.json()
    assert answer.status_code == 200
    assert (found["items"], found["chunks"], found["passed_over"]) == (3, 2, {"other_extension": 1})
    assert found["bytes"] == sum(path.stat().st_size for path in Path(body["source"]).glob("[123]*"))
    assert not Path(body["output"]).exists()
    assert not list(services.client.scan_iter("*crops-1*"))


def test_a_dry_run_lists_what_the_job_would_read_of_several_sources(
    client: TestClient, body: dict[str, Any]
) -> None:
    one = f"{body['source']}/1.png"
    body |= {"source": [body["source"], one], "include": ["*.png"], "exclude": ["2.*"], "limit": 5}

    doubled = client.post("/jobs?dry_run=true", json=body)
    found = client.post("/jobs?dry_run=true", json={**body, "source": body["source"][:1]}).json()

    assert doubled.status_code == 400
    assert "two items of these sources have the id '1.png'" in doubled.text
    assert (found["items"], found["passed_over"]) == (1, {"excluded": 1, "not_included": 1})


def test_a_dry_run_is_refused_as_the_job_would_be(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/jobs?dry_run=true", json={**body, "source": "/etc"})

    assert answer.status_code == 403


# lines of an earlier job


def test_lines_to_reuse_must_be_of_a_job_within_the_roots_that_has_fingerprints(
    client: TestClient, body: dict[str, Any], complete: Workspace, tmp_path: Path
) -> None:
    new = {**body, "output": str(tmp_path / "new"), "job_id": "new"}

    elsewhere = client.post("/jobs", json={**new, "reuse": "/etc"})
    without = client.post("/jobs", json={**new, "reuse": complete.root})

    assert elsewhere.status_code == 403
    assert (without.status_code, "--changed etag" in without.json()["detail"]) == (400, True)
    assert not (tmp_path / "new").exists()


def test_lines_of_the_same_content_are_planned_into_chunks(
    client: TestClient,
    body: dict[str, Any],
    plan: Callable[[], None],
    services: Services,
    tmp_path: Path,
) -> None:
    client.post("/jobs", json={**body, "changed": "sha256"})
    plan()
    earlier = open_workspace(body["output"], services.storage)
    read_crops(earlier, services.jobs.ledger)
    merge(earlier.require_job(), earlier)
    # what the conftest writes into all but the first is the same
    (Path(body["source"]) / "2.png").write_bytes(b"other")

    answer = client.post(
        "/jobs", json={**body, "output": str(tmp_path / "new"), "job_id": "new", "reuse": earlier.root}
    )
    plan()

    new = open_workspace(str(tmp_path / "new"), services.storage)
    assert answer.status_code == 202
    reused = {item.id: item.reused for chunk in (0, 1) for item in new.items(chunk)}
    assert reused["1.png"] == '{"id":"1.png","name":"1.png","value":"one","confidence":0.9}'
    assert reused["2.png"] is None
    assert reused["3.tif"] is not None
