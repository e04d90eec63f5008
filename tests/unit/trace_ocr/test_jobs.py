"""Jobs over the client: what it asks, and what it makes of the answers."""

import sys
from contextlib import redirect_stderr
from dataclasses import asdict
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import httpx
import pytest

from contract.errors import UsageError
from tests.unit.trace_ocr.server import KEY, URL, Serve, job_answer, job_object, refusal
from trace_ocr import Estimate, JobCancelledError, JobFailedError, JobStatus, WaitTimeoutError
from trace_ocr.jobs import LOOK_SECONDS

# submit


def test_submit_sends_what_was_given_leaves_the_rest_to_the_server_and_returns_the_job(serve: Serve) -> None:
    server = serve(httpx.Response(202, json=job_object()))

    with server.client() as client:
        job = client.submit("/scans", Path("/out"), urgent=True, tags=["night"], recognition_model="parseq")

    assert job.id == "night"
    assert str(server.requests[0].url) == f"{URL}/jobs"
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    expected = {"source": "/scans", "output": "/out", "urgent": True, "tags": ["night"]}
    assert server.body() == {**expected, "recognition_model": "parseq"}


def test_submit_sends_the_regions_to_read(serve: Serve) -> None:
    server = serve(job_answer())

    server.client().submit("/scans", "/out", regions="page:/boxes", level="word", categories=("text",))

    body = server.body()
    assert (body["regions"], body["level"], body["categories"]) == ("page:/boxes", "word", ["text"])


def test_submit_names_several_sources_in_their_order(serve: Serve) -> None:
    server = serve(job_answer())

    server.client().submit([Path("/b"), "s3://a/"], "/out", include=["*.png"], limit=5)

    assert server.body()["source"] == ["/b", "s3://a/"]
    assert (server.body()["include"], server.body()["limit"]) == (["*.png"], 5)


def test_a_dry_run_asks_for_an_estimate_and_submits_nothing(serve: Serve) -> None:
    known = Estimate("/scans", "ocr", 2, 7, 7, 900, {"hidden": 1}, 1, 0, 0, True, duration_seconds=3.5)
    server = serve(httpx.Response(200, json={**asdict(known), "of_a_newer_server": 1}))

    found = server.client().dry_run("/scans", Path("/out"), kind="ocr", regions=None, limit=7)

    assert found == known
    assert str(server.requests[0].url) == f"{URL}/jobs?dry_run=true"
    assert server.body() == {"source": "/scans", "output": "/out", "kind": "ocr", "limit": 7}
    assert "Idempotency-Key" not in server.requests[0].headers


def test_submit_makes_one_idempotency_key_for_all_its_tries(serve: Serve) -> None:
    server = serve(httpx.ReadTimeout("slow"), refusal(503), job_answer())

    server.client().submit("/scans", "/out")
    server.client().submit("/scans", "/out")

    first, second, third, other = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first == second == third != other


def test_submit_sends_the_idempotency_key_and_the_names_that_it_is_given(serve: Serve) -> None:
    server = serve(job_answer())

    server.client().submit("/scans", "/out", idempotency_key="mine", job_id="night", chunk_size=7)

    assert server.requests[0].headers["Idempotency-Key"] == "mine"
    assert (server.body()["job_id"], server.body()["chunk_size"]) == ("night", 7)


def test_submit_sends_the_kind_of_pages_and_their_exports(serve: Serve) -> None:
    server = serve(job_answer())

    server.client().submit("/scans", "/out", kind="ocr", exports=("txt", "pdf"), detect_language=True)
    server.client().submit("/scans", "/out", kind="ocr", exports="pdf")

    assert (server.body()["kind"], server.body()["exports"]) == ("ocr", ["txt", "pdf"])
    assert server.body()["detect_language"] is True
    assert server.body(1)["exports"] == ["pdf"]


def test_a_path_in_the_url_is_kept(serve: Serve) -> None:
    server = serve(job_answer())

    server.client(URL + "/ocr/").job("night").status()

    assert server.requests[0].url.path == "/ocr/jobs/night"


def test_a_status_is_the_job_object_and_fields_of_newer_servers_are_passed_over(serve: Serve) -> None:
    server = serve(job_answer(colour="red", request_counts={"total": 9, "completed": 8, "failed": 1, "x": 0}))

    status = server.client().job("night").status()

    assert isinstance(status, JobStatus)
    assert (status.id, status.status, status.request_counts.completed) == ("night", "in_progress", 8)
    assert (status.running[0].worker, status.rate[1].items) == ("cpu@host", 2)
    assert status.recent_errors[0].code == "truncated"
    assert (status.in_progress_at, status.completed_at) == (1_001, None)


@pytest.mark.parametrize("job", ["", "..", "a/b", "../night", "night\n", "a" * 65, "-x"])
def test_what_can_be_no_job_id_is_never_sent(serve: Serve, job: str) -> None:
    server = serve(job_answer())

    with pytest.raises(UsageError, match="no job's id"):
        server.client().job(job)

    assert server.requests == []


def test_jobs_asks_for_page_after_page_also_past_an_empty_one(serve: Serve) -> None:
    def page(ids: list[str], has_more: bool, last: str | None) -> httpx.Response:
        data = [{**job_object(), "id": identity} for identity in ids]
        return httpx.Response(
            200, json={"object": "list", "data": data, "has_more": has_more, "last_id": last}
        )

    server = serve(page(["c", "b"], True, "b"), page([], True, "x"), page(["a"], False, "a"))

    found = [job.id for job in server.client().jobs(status="in_progress", kind="ocr")]

    assert found == ["c", "b", "a"]
    assert [request.url.params.get("after") for request in server.requests] == [None, "b", "x"]
    asked = {(request.url.params["status"], request.url.params["kind"]) for request in server.requests}
    assert asked == {("in_progress", "ocr")}


def test_jobs_are_asked_for_by_tags_and_time(serve: Serve) -> None:
    server = serve(httpx.Response(200, json={"data": []}))

    began = datetime(2026, 11, 25, tzinfo=UTC)
    list(server.client().jobs(tags=("night", "eu"), created_from=began, tenant="labs"))

    asked = server.requests[0].url.params
    assert asked.get_list("tag") == ["night", "eu"]
    assert (asked["created_from"], asked["tenant"]) == ("2026-11-25T00:00:00+00:00", "labs")


def test_jobs_asks_for_no_page_that_nobody_wants(serve: Serve) -> None:
    server = serve(httpx.Response(200, json={"data": [job_object()], "has_more": True, "last_id": "night"}))

    assert next(server.client().jobs()).id == "night"

    assert len(server.requests) == 1


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry_errors"])
def test_steering_posts_and_returns_the_jobs_status(serve: Serve, action: str) -> None:
    server = serve(job_answer("cancelling"))

    status = getattr(server.client().job("night"), action)()

    assert status.status == "cancelling"
    assert server.requests[0].method == "POST"
    assert server.requests[0].url.path == f"/jobs/night/{action.replace('_', '-')}"


def test_wait_looks_until_the_job_is_complete(serve: Serve) -> None:
    server = serve(job_answer("validating"), job_answer("paused"), job_answer("completed"))

    assert server.client().job("night").wait().status == "completed"

    assert server.pauses == [LOOK_SECONDS, LOOK_SECONDS]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [("failed", JobFailedError, "no weights for parseq"), ("cancelled", JobCancelledError, "cancelled")],
)
def test_wait_raises_what_became_of_the_job(
    serve: Serve, status: str, error: type[Exception], words: str
) -> None:
    server = serve(job_answer(status, error="no weights for parseq"))

    with pytest.raises(error, match=words) as raised:
        server.client().job("night").wait()

    assert getattr(raised.value, "status").status == status  # noqa: B009


def test_wait_gives_up_after_its_time_and_says_that_the_job_goes_on(serve: Serve) -> None:
    server = serve(job_answer("in_progress"))

    with pytest.raises(WaitTimeoutError, match="night is in_progress after 0 s and goes on"):
        server.client().job("night").wait(timeout=0)

    assert server.pauses == []


class Terminal(StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_wait_shows_a_bar_on_a_terminal(serve: Serve) -> None:
    with redirect_stderr(Terminal()) as terminal:
        serve(job_answer("completed")).client().job("night").wait()

    assert "night: completed" in terminal.getvalue()
    assert "7/9" in terminal.getvalue()


def test_wait_without_rich_writes_a_line_for_each_thing_that_the_job_does(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.delitem(sys.modules, "trace_ocr.bar", raising=False)
    server = serve(job_answer("paused"), job_answer("paused"), job_answer("completed"))

    with redirect_stderr(Terminal()) as terminal:
        server.client().job("night").wait()

    first, last = terminal.getvalue().splitlines()
    assert first == "night: paused, 7 of 9 items, 1 failed 2.5 items/s"
    assert last.startswith("night: completed")


@pytest.mark.parametrize("rich", [True, False])
def test_controls_in_what_the_server_says_are_visible(
    rich: bool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
        monkeypatch.delitem(sys.modules, "trace_ocr.bar", raising=False)
    ended = job_answer("completed", id="[red]n\x1b[2J\u202e")

    with redirect_stderr(Terminal()) as terminal:
        serve(ended).client().job("night").wait()

    assert r"[red]n\x1b[2J\u202e: completed" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_wait_shows_nothing_if_it_is_told_so(serve: Serve) -> None:
    with redirect_stderr(Terminal()) as terminal:
        serve(job_answer("completed")).client().job("night").wait(progress=False)

    assert terminal.getvalue() == ""


def test_wait_shows_nothing_off_a_terminal(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(job_answer("completed")).client().job("night").wait()

    assert capsys.readouterr() == ("", "")
