"""Claiming: a job gets an empty place and an id of its own, or it is refused and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from contract.broker.ledger import Ledger
from contract.errors import WorkspaceConflictError
from contract.job import Job, Plan
from contract.source import Regions
from contract.storage import Storage, Store, join
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.planning import claim
from producer.planning.claim import Ids
from producer.planning.plan import write_chunk
from producer.planning.submit import settle_job, submit_job
from producer.results.index import JobIndex


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Given an allowed root of each backend."""
    if request.param == "local":
        (tmp_path / "root").mkdir()
        return str(tmp_path / "root")
    return str(request.getfixturevalue("s3_bucket").uri("root"))


@pytest.fixture
def ids(ledger: Ledger, root: str, storage: Storage) -> Ids:
    return Ids(ledger, JobIndex(AllowedRoots((root,)), storage))


@pytest.fixture
def settle(root: str, storage: Storage, ids: Ids) -> Callable[..., Job]:
    """Settle a job in a place below the root."""

    def run(job: Job, place: str, job_id: str | None = None) -> Job:
        workspace = open_workspace(join(root, place).rstrip("/"), storage)
        return settle_job(job, workspace, ids, (root,), job_id)

    return run


@pytest.fixture
def left(root: str, storage: Storage, fake_redis: fakeredis.FakeRedis) -> Callable[[], Any]:
    """Return everything that is in storage and in Redis."""

    def look() -> Any:
        store = storage.at(root)
        return {uri: store.read(uri, 10**6) for uri, _ in store.objects(root)}, sorted(fake_redis.keys())

    return look


def workspace_at(root: str, place: str, storage: Storage) -> Workspace:
    return open_workspace(join(root, place), storage)


class TestPlaces:
    @pytest.mark.parametrize(
        "name",
        [
            "_SUCCESS",
            "results.jsonl",
            "summary.json",
            "notes.txt",
            "parts/important.csv",
            "a/b/c.png",
            ".hidden",
            "chunks/000000.jsonl",
        ],
    )
    def test_one_that_is_not_empty_is_refused_and_the_file_named(
        self, name: str, job: Job, root: str, storage: Storage, settle: Any, left: Any
    ) -> None:
        storage.at(root).replace(join(root, "out", name), b"theirs")
        before = left()

        with pytest.raises(WorkspaceConflictError, match=rf"not empty.*{name}"):
            settle(job, "out")

        assert left() == before

    @pytest.mark.parametrize(
        ("place", "said"),
        [
            ("", "allowed root itself"),
            (".trace-ocr", "kept for the index"),
            (".trace-ocr/jobs/x", "kept for the index"),
            ("night/parts", "inside .*night, where another job lives"),
            ("night/a/b", "inside .*night, where another job lives"),
            ("above", "not empty"),
            ("crops", "the source itself"),
            ("boxes", "the folder of the regions"),
        ],
    )
    def test_reserved_places_are_refused(
        self, place: str, said: str, job: Job, root: str, storage: Storage, settle: Any, left: Any
    ) -> None:
        # given a source, regions of its pages, and jobs that live at night/ and above/other/
        regions = Regions(format="page", uri=join(root, "boxes/"))
        source = job.source.model_copy(update={"uri": join(root, "crops"), "regions": regions})
        for home in ("night", "above/other"):
            workspace_at(root, home, storage).save_job(job)
        before = left()

        with pytest.raises(WorkspaceConflictError, match=said):
            settle(job.model_copy(update={"source": source}), place)

        assert left() == before

    @pytest.mark.parametrize("data", [b"{}", b"theirs", b'{"id": "etl", "steps": []}'])
    def test_a_job_json_of_somebody_else_is_refused(
        self, data: bytes, job: Job, root: str, storage: Storage, settle: Any, left: Any
    ) -> None:
        storage.at(root).replace(join(root, "out/job.json"), data)
        before = left()

        with pytest.raises(WorkspaceConflictError, match=r"job\.json is not of a job"):
            settle(job, "out")

        assert left() == before

    def test_empty_folders_and_the_placeholders_of_consoles_are_no_files(
        self, job: Job, root: str, storage: Storage, settle: Any, request: pytest.FixtureRequest
    ) -> None:
        if root.startswith("s3"):
            for key in ("root/out/", "root/out/below/"):
                request.getfixturevalue("s3_bucket").put(key, b"")
        else:
            Path(root, "out", "parts").mkdir(parents=True)

        assert settle(job, "out") == job

    def test_a_place_inside_the_source_is_no_other_jobs(self, job: Job, root: str, settle: Any) -> None:
        source = job.source.model_copy(update={"uri": join(root, "crops")})
        inside = job.model_copy(update={"source": source})

        assert settle(inside, "crops/out") == inside

    def test_links_and_pipes_are_files_of_somebody_else(
        self, job: Job, tmp_path: Path, storage: Storage
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "chunks").symlink_to(tmp_path)

        with pytest.raises(WorkspaceConflictError, match=r"not empty.*chunks"):
            settle_job(job, open_workspace(str(tmp_path / "out"), storage))

        assert [path.name for path in (tmp_path / "out").iterdir()] == ["chunks"]


class TestRaces:
    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, store: Store, act: Callable[[], None]) -> None:
        """Do something between the look at a place and the creation of its job.json."""
        real = type(store).create

        def create(self: Any, uri: str, data: bytes) -> bool:
            if uri.endswith("/job.json"):
                monkeypatch.undo()
                act()
            return real(self, uri, data)

        monkeypatch.setattr(type(store), "create", create)

    def test_a_file_that_appears_before_the_claim_ends_it(
        self,
        job: Job,
        root: str,
        storage: Storage,
        settle: Any,
        left: Any,
        fake_redis: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store = storage.at(root)
        self.meanwhile(monkeypatch, store, lambda: store.replace(join(root, "out/_SUCCESS"), b""))

        with pytest.raises(WorkspaceConflictError, match=r"not empty.*_SUCCESS"):
            settle(job, "out")

        assert left() == ({join(root, "out/_SUCCESS"): b""}, [])

    @pytest.mark.parametrize("other", ["out", "out/below", ""])
    def test_of_two_that_come_at_once_at_most_one_gets_the_place(
        self,
        other: str,
        job: Job,
        root: str,
        storage: Storage,
        settle: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # given another job that is settled at, below or above the place, just before this one
        second = job.model_copy(update={"id": "second", "chunk_size": 7})
        place = "a/out"
        theirs = workspace_at(root, join("a", other).rstrip("/"), storage)
        self.meanwhile(monkeypatch, storage.at(root), lambda: theirs.save_job(second))

        with pytest.raises(WorkspaceConflictError):
            settle(job, place)

        assert theirs.require_job() == second
        assert theirs.root == join(root, place) or not workspace_at(root, place, storage).load_job()

    def test_the_same_job_submitted_twice_at_once_is_continued(
        self,
        job: Job,
        root: str,
        storage: Storage,
        settle: Any,
        monkeypatch: pytest.MonkeyPatch,
        ids: Ids,
    ) -> None:
        # given a call that creates the job and writes its first chunk, just before this one
        first = job.model_copy(update={"id": "first"})
        workspace = workspace_at(root, "out", storage)

        def act() -> None:
            workspace.save_job(first)
            write_chunk(workspace, 0, [])

        self.meanwhile(monkeypatch, storage.at(root), act)

        assert settle(job, "out") == first
        ids.ledger.reserve(job.id, "another place")  # and the second id is free again

    def test_a_claim_that_another_call_takes_up_is_not_given_up(
        self, job: Job, root: str, storage: Storage, settle: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a look after the claim that finds the job finished by others
        workspace = workspace_at(root, "out", storage)
        real = claim.check_empty

        def late(place: Workspace) -> None:
            if place.store.exists(place.job_json):
                write_chunk(place, 0, [])
                place.store.replace(place.results, b"")
            real(place)

        monkeypatch.setattr(claim, "check_empty", late)

        assert settle(job, "out") == job
        assert workspace.load_job() == job


class TestIds:
    def test_one_of_another_place_is_refused_before_anything_is_written(
        self, job: Job, settle: Any, root: str, ids: Ids, left: Any
    ) -> None:
        ids.ledger.open(job.id, join(root, "first"), job.kind, job.source.uri, job.created_at)
        before = left()

        with pytest.raises(WorkspaceConflictError, match=r"crops-1 already lives in .*first"):
            settle(job, "second", job.id)

        assert left() == before

    def test_one_that_redis_forgot_is_known_to_the_index(
        self, job: Job, settle: Any, root: str, storage: Storage, ids: Ids, left: Any, fake_redis: Any
    ) -> None:
        assert ids.index
        settle(job, "first", job.id)
        ids.index.note(job, workspace_at(root, "first", storage))
        fake_redis.flushall()
        before = left()

        with pytest.raises(WorkspaceConflictError, match=r"crops-1 already lives in .*first"):
            settle(job.model_copy(update={"created_at": 2_000}), "second", job.id)

        assert left() == before
        found = ids.index.find(job.id)
        assert found
        assert found.root == join(root, "first")

    def test_it_is_kept_while_the_job_is_written(self, job: Job, settle: Any, root: str, ids: Ids) -> None:
        settle(job, "first")

        with pytest.raises(WorkspaceConflictError):
            ids.ledger.open(job.id, join(root, "second"), job.kind, job.source.uri, job.created_at)
        ids.ledger.open(job.id, join(root, "first"), job.kind, job.source.uri, job.created_at)

    def test_a_copied_workspace_cannot_be_continued_while_the_job_lives(
        self, job: Job, root: str, storage: Storage, settle: Any, ids: Ids, dispatcher: Any, left: Any
    ) -> None:
        ids.ledger.open(job.id, join(root, "first"), job.kind, job.source.uri, job.created_at)
        copy = workspace_at(root, "copy", storage)
        copied = job.model_copy(update={"plan": Plan(chunks=0, items=0)})
        copy.save_job(copied)
        copy.halt("paused")  # type: ignore[arg-type]
        before = left()

        with pytest.raises(WorkspaceConflictError):
            settle(job.tuned_as(job), "copy")
        with pytest.raises(WorkspaceConflictError):
            submit_job(copied, copy, None, ids.ledger, dispatcher)  # type: ignore[arg-type]

        assert left() == before
