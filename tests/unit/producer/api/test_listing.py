"""Listings: searched, in groups, page by page, and read from memory where nothing changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from fastapi.testclient import TestClient

from contract.broker.ledger import Ledger
from contract.broker.queries import LedgerQueries
from contract.job_filter import JobFilter
from contract.records import PartOutcome
from contract.states import State
from contract.storage.roots import AllowedRoots
from producer.api.job_table import COSTLY_SECONDS, KEPT_TIMES, JobTable
from producer.api.services import Services
from producer.api.visibility import REMEMBERED_SECONDS, Visibility


@pytest.fixture
def ids(client: TestClient) -> Callable[..., list[str]]:
    """Return the ids of the jobs that a query finds."""
    return lambda **query: [job["id"] for job in client.get("/jobs", params=query).json()["data"]]


@pytest.fixture
def open_job(services: Services) -> Callable[..., None]:
    def run(name: str, number: int = 1, source: str = "/scans", **words: Any) -> None:
        services.ledger.open(name, f"/out/{name}", "recognition", source, number, **words)

    return run


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The jobs that each look asks Redis for."""
    asked: list[list[str]] = []
    load = LedgerQueries.load_all

    def counted(self: LedgerQueries, jobs: Any, **how: bool) -> Any:
        asked.append(sorted(jobs))
        return load(self, asked[-1], **how)

    monkeypatch.setattr(LedgerQueries, "load_all", counted)
    return asked


class TestSearch:
    def test_finds_each_word_in_the_id_the_source_the_tags_or_the_metadata(
        self, ids: Callable[..., list[str]], open_job: Callable[..., None]
    ) -> None:
        open_job("invoices", 1, "s3://Scans/2026", tags=["night"], metadata={"ticket": "OCR-12"})
        open_job("letters", 2, "s3://scans/2026", tags=["day"])

        assert ids(q="scans 2026") == ["letters", "invoices"]
        assert ids(q="SCANS night") == ids(q="ocr-12") == ids(q="invo") == ["invoices"]
        assert ids(q="scans nowhere") == []

    def test_goes_on_beside_the_other_conditions(
        self, ids: Callable[..., list[str]], open_job: Callable[..., None], services: Services
    ) -> None:
        for number, name in enumerate(("first", "second")):
            open_job(name, number)
        services.ledger.hold("first", State.PAUSED)

        assert ids(q="scans", status="paused") == ["first"]


class TestGroups:
    @pytest.fixture(autouse=True)
    def some(self, open_job: Callable[..., None], services: Services) -> None:
        """Given jobs that failed, completed and were paused; no worker is alive."""
        for number, name in enumerate(("failed", "completed", "paused")):
            open_job(name, number)
        services.ledger.finish("failed", State.FAILED, 60, "line 1 of the manifest is no JSON")
        services.ledger.finish("completed", State.COMPLETED, 60)
        services.ledger.hold("paused", State.PAUSED)

    @pytest.mark.parametrize(
        ("state", "found"),
        [("attention", ["failed"]), ("running", ["paused"]), ("ended", ["completed", "failed"])],
    )
    def test_show_their_jobs(self, state: str, found: list[str], ids: Callable[..., list[str]]) -> None:
        assert ids(state=state) == found

    def test_are_counted_by_the_other_conditions(self, client: TestClient) -> None:
        counts = client.get("/jobs", params={"state": "running"}).json()["counts"]

        assert counts == {"attention": 1, "running": 1, "ended": 2}
        assert client.get("/jobs", params={"q": "completed"}).json()["counts"]["ended"] == 1

    def test_say_what_each_job_does(self, client: TestClient) -> None:
        jobs = {job["id"]: job for job in client.get("/jobs").json()["data"]}

        assert jobs["failed"]["state_text"] == "failed: line 1 of the manifest is no JSON"
        assert jobs["failed"]["ends_at"] == jobs["failed"]["failed_at"]
        assert (jobs["paused"]["state_text"], jobs["paused"]["attention"]) == ("paused", "")


class TestPages:
    def test_of_newer_jobs_lead_back(self, client: TestClient, open_job: Callable[..., None]) -> None:
        for number in range(5):
            open_job(f"job-{number}", number)

        def page(**query: Any) -> tuple[list[str], bool]:
            answer = client.get("/jobs", params={"limit": 2, **query}).json()
            return [job["id"] for job in answer["data"]], answer["has_more"]

        assert page(after="job-3") == (["job-2", "job-1"], True)
        assert page(before="job-2") == (["job-4", "job-3"], False)
        assert page(before="job-1") == (["job-3", "job-2"], True)
        assert page(before="job-4") == ([], False)

    def test_end_where_no_further_job_is_wanted(
        self, client: TestClient, open_job: Callable[..., None], services: Services
    ) -> None:
        for number in range(4):
            open_job(f"job-{number}", number)
        for name in ("job-1", "job-3"):
            services.ledger.hold(name, State.PAUSED)

        first = client.get("/jobs", params={"limit": 1, "status": "paused"}).json()
        second = client.get(
            "/jobs", params={"limit": 1, "status": "paused", "after": first["last_id"]}
        ).json()

        assert (first["last_id"], first["has_more"]) == ("job-3", True)
        assert ([job["id"] for job in second["data"]], second["has_more"]) == (["job-1"], False)

    def test_do_not_continue_after_a_job_that_nobody_knows(self, client: TestClient) -> None:
        assert client.get("/jobs", params={"after": "none"}).status_code == 404
        assert client.get("/jobs", params={"before": "none"}).status_code == 404


class TestTable:
    def test_reads_ended_jobs_once(self, ledger: Ledger, looks: list[list[str]]) -> None:
        for name in ("runs", "ends"):
            ledger.open(name, f"/out/{name}", "recognition", "/scans", 1)
        ledger.finish("ends", State.COMPLETED, 60)
        table = JobTable(ledger, clock=lambda: 0.0)

        table.known()
        looks.clear()
        table.known()

        assert [jobs for jobs in looks if jobs] == [["runs"]]

    def test_sees_an_ended_job_that_runs_again(self, ledger: Ledger) -> None:
        ledger.open("night", "/out", "recognition", "/scans", 1)
        ledger.finish("night", State.FAILED, 60, "no space")
        table = JobTable(ledger, clock=lambda: 0.0)
        before = table.known().statuses["night"]
        ledger.open("night", "/out", "recognition", "/scans", 1)

        after = table.known().statuses["night"]

        assert (before.status, after.status) == (State.FAILED, State.VALIDATING)

    def test_sees_the_end_of_a_job(self, ledger: Ledger) -> None:
        ledger.open("night", "/out", "recognition", "/scans", 1)
        table = JobTable(ledger, clock=lambda: 0.0)
        table.known()
        ledger.plan_done("night", 1, 5)
        ledger.mark("night", 0, PartOutcome(4, 1))
        ledger.finish("night", State.COMPLETED, 60)

        [status] = table.known().statuses.values()

        assert (status.status, status.request_counts.failed) == (State.COMPLETED, 1)

    def test_counts_what_redis_has_forgotten(self, ledger: Ledger, fake_redis: fakeredis.FakeRedis) -> None:
        ledger.open("night", "/out", "recognition", "/scans", 1)
        table = JobTable(ledger, clock=lambda: 0.0)
        first = table.known().lost
        fake_redis.flushall()

        known = table.known()

        assert (first, known.lost, dict(known.statuses)) == (0, 1, {})

    def test_passes_over_a_record_that_has_expired_until_it_is_there_again(
        self, ledger: Ledger, fake_redis: fakeredis.FakeRedis, looks: list[list[str]]
    ) -> None:
        ledger.open("night", "/out", "recognition", "/scans", 1)
        ledger.finish("night", State.COMPLETED, 60)
        fake_redis.delete("trace-ocr:job:night")
        table = JobTable(ledger, clock=lambda: 0.0)

        assert (table.known().created, table.known().created) == ({}, {})
        assert looks.count(["night"]) == 1
        ledger.open("night", "/out", "recognition", "/scans", 1)
        assert list(table.known().created) == ["night"]

    def test_reads_a_running_job_of_an_older_version(
        self, ledger: Ledger, fake_redis: fakeredis.FakeRedis
    ) -> None:
        ledger.open("night", "/out", "recognition", "/scans", 1)
        fake_redis.delete("trace-ocr:unended")
        table = JobTable(ledger, clock=lambda: 0.0)
        table.known()
        ledger.plan_done("night", 9, 90)

        assert table.known().statuses["night"].request_counts.total == 90

    def test_keeps_a_look_that_took_long(self, ledger: Ledger, clock: Any) -> None:
        class Slow(JobTable):
            def _look(self) -> Any:
                looked.append(clock.now)
                clock.now += took
                return super()._look()

        looked: list[float] = []
        table = Slow(ledger, clock)
        for took in (COSTLY_SECONDS / 2, 10 * COSTLY_SECONDS):  # noqa: B007 - read by the class above
            table.known()
            table.known()
        assert len(looked) == 3
        clock.now += KEPT_TIMES * 10 * COSTLY_SECONDS
        table.known()
        assert len(looked) == 4


def test_what_a_key_may_see_is_checked_once_in_a_while_for_each_place(ledger: Ledger, clock: Any) -> None:
    ledger.open("night", "/out", "recognition", "/scans", 1)
    [status] = JobTable(ledger).known().statuses.values()
    asked: list[str] = []
    visibility = Visibility(clock)

    def look(root: str) -> bool:
        return visibility.presumed((root,), lambda one: bool(asked.append(root) or root == "/scans"), status)

    assert [look("/scans"), look("/scans"), look("/other")] == [True, True, False]
    assert asked == ["/scans", "/other"]
    clock.now += REMEMBERED_SECONDS
    look("/scans")
    assert asked == ["/scans", "/other", "/scans"]


def test_a_job_whose_workspace_moved_out_of_the_roots_since_is_not_shown(
    services: Services, tmp_path: Path
) -> None:
    """Given that a listing has remembered that the job may be seen."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    link = tmp_path / "ours" / "out"
    link.symlink_to(tmp_path / "ours")
    services.ledger.open("night", str(link), "recognition", str(tmp_path / "ours"), 1)
    jobs = services.jobs.below(AllowedRoots((str(tmp_path / "ours"),)))
    before = jobs.page(10, None, JobFilter()).data

    link.unlink()
    link.symlink_to(tmp_path / "theirs")

    assert [status.id for status in before] == ["night"]
    assert jobs.page(10, None, JobFilter()).data == []


def test_an_empty_condition_lets_every_job_through(ledger: Ledger) -> None:
    ledger.open("night", "/out", "recognition", "/scans", 1)
    [status] = JobTable(ledger).known().statuses.values()

    assert JobFilter().accepts(status)
