"""A whole system in one thread: the product's control, planner, steering and worker. Redis and the workspace
are in memory. Every call to these is a step, between which a test decides who goes on and who is killed.

Only the edges are fakes: kombu's moves between its keys, the reading of images, and time.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import fakeredis
import pytest
from celery.exceptions import Reject
from greenlet import getcurrent, greenlet

from contract.broker.depths import UNACKED_INDEX, waiting_chunks
from contract.broker.ledger import Ledger
from contract.errors import (
    ErrorCode,
    InterruptedChunkError,
    JobHaltedError,
    JobStateError,
    StorageUnavailableError,
)
from contract.job import Job, parse_job
from contract.kinds.recognition import RecognitionParameters
from contract.lines import ErrorLine, Failure, RecognitionLine
from contract.records import ChunkStatistics, Item
from contract.settings import Settings
from contract.source import Source
from contract.states import Action
from contract.storage import Storage
from contract.storage.base import Store
from contract.storage.roots import AllowedRoots
from contract.storage.streams import TranslatedStream
from contract.workspace import Workspace, open_workspace
from producer.control.feed import Feeder
from producer.control.loop import Control
from producer.control.steer import add_retry, cancel_job, check_action, pause_job
from producer.planning.planner import Planner
from producer.planning.submit import Dispatcher, request_job, settle_job, submit_job
from producer.sources.base import Listing
from tests.unit.contract.storage.backends.mem import MemoryStore
from worker.app.tasks import run_message
from worker.jobs.context import WorkerContext
from worker.jobs.parts import Written, write_part
from worker.monitoring.trouble import Troubles

ROOT = "/machine"
QUEUE, UNACKED = "trace-ocr.recognition", "unacked"
ITEMS = [Item(id=str(number), uri=f"/source/{number}") for number in range(5)]
FAILING = frozenset({"1", "2"})
"""Items that cannot be read in a job's first round."""
FOR_EVER = "2"
"""The one of them that cannot be read in a round of retries either."""
VISIBILITY = 60


class Killed(BaseException):
    """What ends a process that is killed: no code of the product catches it, and no further step is taken."""


class Actor:
    """A process or a thread of one, which goes on step by step."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self.name, self.killed = name, False
        self._greenlet = greenlet(run)
        self._greenlet.actor = self  # type: ignore[attr-defined]

    @property
    def ended(self) -> bool:
        return bool(self._greenlet.dead)

    def step(self, count: int = 1) -> None:
        """Go on for some steps, or to the end if that comes first."""
        for _ in range(count):
            if self.ended:
                return
            self._greenlet.switch()

    def finish(self) -> None:
        """Go on to the end."""
        while not self.ended:
            self._greenlet.switch()

    def kill(self) -> None:
        """End here and now."""
        self.killed = True
        if not self.ended:
            with contextlib.suppress(Killed):
                self._greenlet.throw(Killed)
        assert self.ended


def step() -> None:
    """Let another actor go on, if this is one; called before everything that other processes can see."""
    here = getcurrent()
    actor: Actor | None = getattr(here, "actor", None)
    if actor is None:
        return
    if not actor.killed:
        here.parent.switch()
    if actor.killed:
        raise Killed


class SteppingRedis(fakeredis.FakeRedis):
    """A client whose every call to the server is a step."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        step()
        return super().execute_command(*args, **options)

    def pipeline(self, *args: Any, **options: Any) -> Any:
        made = super().pipeline(*args, **options)
        execute = made.execute

        def stepping(*some: Any, **more: Any) -> Any:
            step()
            return execute(*some, **more)

        made.execute = stepping
        return made


class SteppingStore(MemoryStore):
    """A store whose every call is a step; a part never changes, and a job never loses its plan or a round."""

    def _check(self, uri: str, data: bytes) -> None:
        assert "/parts/" not in uri, f"{uri} is written a second time"
        if uri.endswith("/job.json") and uri in self._objects:
            before, after = parse_job(self._objects[uri], uri), parse_job(data, uri)
            assert before.plan in (None, after.plan), "the plan is lost"
            assert after.retries[: len(before.retries)] == before.retries, "a round is lost"

    def read(self, uri: str, limit: int) -> bytes:
        step()
        return super().read(uri, limit)

    def replace(self, uri: str, data: bytes) -> None:
        step()
        self._check(uri, data)
        super().replace(uri, data)

    def create(self, uri: str, data: bytes) -> bool:
        step()
        return super().create(uri, data)

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        step()
        if self._objects.get(uri) == old:
            self._check(uri, new)
        return super().exchange(uri, old, new)

    def delete(self, uri: str) -> None:
        step()
        super().delete(uri)

    def exists(self, uri: str) -> bool:
        step()
        return super().exists(uri)

    def names(self, folder: str) -> Iterator[str]:
        step()
        return iter(list(super().names(folder)))

    def reader(self, uri: str, start: int = 0) -> AbstractContextManager[TranslatedStream]:
        step()
        return super().reader(uri, start)

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        with super().writer(uri) as stream:
            yield stream
            step()


class OneThread:
    """An executor that does the work at once, in the caller's thread."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> "OneThread":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done

    def map(self, work: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        return iter([work(*some) for some in zip(*arguments, strict=False)])


@dataclass
class Clock:
    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now

    monotonic = time


def install(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Replace threads, time, and the reading of images."""
    concurrent = "contract.workspace", "producer.planning.plan", "producer.results.merge"
    for module in (*concurrent, "producer.control.deadline"):
        monkeypatch.setattr(f"{module}.ThreadPoolExecutor", OneThread)
    for module in ("control.loop", "control.feed", "planning.planner", "planning.submit"):
        module = f"producer.{module}"
        monkeypatch.setattr(f"{module}.time", clock)
    monkeypatch.setattr("producer.planning.submit.HALT_SECONDS", -1.0)
    # Full looks of the reconciler at intervals would hide what the others miss.
    monkeypatch.setattr("producer.control.reconcile.FULL_LOOKS", 1_000_000)
    monkeypatch.setattr(
        "worker.jobs.chunk.Heartbeat", lambda *_: contextlib.nullcontext(SimpleNamespace(advance=None))
    )
    monkeypatch.setattr("worker.jobs.chunk._read_and_write", _read)


def _read(
    workspace: Workspace, job: Job, chunk: int, attempt: int, context: Any, on_progress: object
) -> Written | None:
    """Read a chunk as the model would, or fail as the test wants it."""
    if context.failure:
        raise context.failure
    lines: list[Any] = []
    for item in workspace.items(chunk):
        again = job.is_retry(chunk) and item.id != FOR_EVER
        if item.id in FAILING and not again:
            lines.append(ErrorLine(item.id, item.uri, Failure(ErrorCode.NOT_FOUND, "not there"), attempt))
        else:
            lines.append(RecognitionLine(item.id, item.id, "again" if again else "read", 0.5))
    failed = sum(isinstance(line, ErrorLine) for line in lines)
    return write_part(workspace, chunk, lines, ChunkStatistics(len(lines) - failed, failed, 1.0, {}, 1, 1.0))


@dataclass
class Machine:
    """The system and its actors."""

    clock: Clock
    server: fakeredis.FakeServer = field(default_factory=fakeredis.FakeServer)
    actors: list[Actor] = field(default_factory=list)
    leases: dict[str, Actor] = field(default_factory=dict)
    restores: bool = True
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.store = SteppingStore()
        self.storage = cast("Storage", SimpleNamespace(at=lambda uri: cast("Store", self.store)))
        self.redis = SteppingRedis(server=self.server, decode_responses=True)
        self.ledger = Ledger(self.redis, "trace-ocr", self.clock.time)
        self.settings = Settings(visibility_timeout=VISIBILITY)
        self.workspace = open_workspace(f"{ROOT}/out", self.storage)
        self.feeds = True
        self.dispatcher = Dispatcher(self._send, self._waiting, lambda: self.feeds)
        self.controls = [self._control(), self._control()]
        self.feeders = [self._feeder(), self._feeder()]
        self.planner = self._planner()
        self.job = Job(
            id="job",
            parameters=RecognitionParameters(),
            source=Source(type="folder", uri="/source"),
            chunk_size=2,
            created_at=1_000,
        )

    # what there is

    def _control(self) -> Control:
        return Control(self.redis, self.ledger, self.storage, self.dispatcher, self.settings)

    def _feeder(self) -> Feeder:
        return Feeder(self.redis, self.ledger, self.storage, self.dispatcher, self.settings, lambda: 0)

    def _planner(self) -> Planner:
        fed = replace(self.dispatcher, control_feeds=lambda: True)
        return Planner(self.ledger, self.storage, fed, lambda job, stdin: self._listing())

    def _listing(self) -> Listing:
        return Listing(iter(ITEMS), Counter())

    def _send(self, job: Job, workspace: str, chunk: int) -> None:
        body = {"job": job.id, "workspace": workspace, "chunk": chunk}
        self.redis.lpush(QUEUE, json.dumps({"headers": {"id": f"{job.id}/{chunk}"}, "body": body}))

    def _waiting(self, job: str) -> set[int]:
        return waiting_chunks(self.redis, "trace-ocr", job, self.clock.now - 2 * VISIBILITY)

    # who acts

    def start(self, name: str, run: Callable[[], None]) -> Actor:
        """Add an actor."""
        actor = Actor(name, run)
        self.actors.append(actor)
        return actor

    def command(self, name: str) -> Actor:
        """Add an operator's command, or a request over HTTP."""
        return self.start(name, lambda: self._command(name))

    def _command(self, name: str) -> None:
        # Refused, or overtaken by another command: the operator is told so.
        with contextlib.suppress(JobStateError, JobHaltedError):
            if name in ("submit", "request"):
                job = settle_job(self.job, self.workspace)
                if not self.workspace.store.exists(self.workspace.success):
                    self._continue(job, name)
                return
            job = self.workspace.load_job()
            if job is None:
                return
            if name == "pause":
                pause_job(job, self.workspace, self.ledger)
            elif name == "cancel":
                cancel_job(job, self.workspace, self.ledger)
            elif name.startswith("resume"):
                check_action(Action.RESUME, job, self.workspace, self.ledger)
                self._continue(job, name)
            elif name.startswith("retry"):
                self._continue(add_retry(job, self.workspace, self.ledger), name)

    def _continue(self, job: Job, name: str) -> None:
        if name in ("request", "resume over http", "retry over http"):
            request_job(job, self.workspace, self.ledger)
        else:
            submit_job(job, self.workspace, self._listing(), self.ledger, self.dispatcher)

    def look(self, number: int) -> Actor:
        """Add one look of a control process."""
        return self.start(f"control {number}", lambda: self.controls[number].look_at_all())

    def feed(self, number: int) -> Actor:
        """Add one feeding of a control process."""
        return self.start(f"feeder {number}", lambda: self.feeders[number].feed() and None)

    def plan(self) -> Actor:
        """Add a planner that takes one submission, and plans that were abandoned."""

        def run() -> None:
            submitted = self.redis.lpop("trace-ocr:submitted")
            for job in [str(submitted)] if submitted else self.planner._abandoned():
                self.planner.plan(job, cast("Any", SimpleNamespace(is_set=lambda: False)))

        return self.start("planner", run)

    def work(self, failure: Exception | None = None) -> Actor:
        """Add a worker that takes one message, and reads its chunk or fails with an error."""
        actor = self.start("worker", lambda: self._work(actor, failure))
        return actor

    def _work(self, actor: Actor, failure: Exception | None) -> None:
        text = cast("str | None", self.redis.rpop(QUEUE))
        if text is None:
            return
        tag = f"tag-{len(self.leases)}"
        self.leases[tag] = actor
        pipeline = self.redis.pipeline()
        pipeline.zadd(UNACKED_INDEX, {tag: self.clock.now})
        pipeline.hset(UNACKED, tag, json.dumps([json.loads(text), "", QUEUE]))
        pipeline.execute()
        context = SimpleNamespace(
            name="cpu@here",
            settings=self.settings,
            storage=self.storage,
            roots=AllowedRoots((ROOT, "/source")),
            ledger=self.ledger,
            metrics=SimpleNamespace(chunk=lambda *_: None),
            troubles=Troubles(),
            failure=failure,
        )
        body = json.loads(text)["body"]
        try:
            run_message("recognition", (), body, cast("WorkerContext", context), lambda: None)
        except Reject as reject:
            self._settle(tag, text if reject.requeue else None)
        else:
            self._settle(tag, None)

    def _settle(self, tag: str, again: str | None) -> None:
        """Acknowledge a message, or put it back, in one transaction as kombu does."""
        there = self.redis.hexists(UNACKED, tag)
        pipeline = self.redis.pipeline()
        pipeline.zrem(UNACKED_INDEX, tag)
        pipeline.hdel(UNACKED, tag)
        if there and again:
            pipeline.rpush(QUEUE, again)
        pipeline.execute()

    # what happens to it

    def kill(self, actor: Actor) -> None:
        """Kill a process: what it had in memory is gone, and a command must be repeated."""
        actor.kill()
        self.actors.remove(actor)
        if actor.name.startswith("control"):
            self.controls[int(actor.name[-1])] = self._control()
        elif actor.name.startswith("feeder"):
            self.feeders[int(actor.name[-1])] = self._feeder()
        elif actor.name == "planner":
            self.planner = self._planner()
        elif actor.name != "worker":
            self.interrupted = True

    def forget_ended(self) -> None:
        """Drop actors that have ended."""
        self.actors = [actor for actor in self.actors if not actor.ended]

    def wait(self, seconds: float = VISIBILITY + 1) -> None:
        """Let time pass: locks expire, live workers renew leases, other messages are delivered again."""
        self.clock.now += seconds
        for key in self.redis.keys("trace-ocr:control:*"):
            self.redis.delete(key)
        for tag, actor in self.leases.items():
            if not actor.ended:
                self.redis.zadd(UNACKED_INDEX, {tag: self.clock.now}, xx=True)
        expired = self.redis.zrangebyscore(UNACKED_INDEX, 0, self.clock.now - VISIBILITY)
        for tag in cast("list[str]", expired) if self.restores else ():
            text = cast("str | None", self.redis.hget(UNACKED, tag))
            self._settle(tag, json.dumps(json.loads(text)[0]) if text else None)

    def flush(self) -> None:
        """Empty Redis."""
        self.redis.flushall()

    def lose_part(self, number: int) -> bool:
        """Lose a part, marked or not, unless the job has ended once; return whether it was there.

        A part of errors is not lost: read again it might hold none, and a round of retries would not fit.
        """
        job, uri = self.workspace.load_job(), self.workspace.part(number)
        partial = job is None or job.retries or job.at_deadline == "partial"
        if partial or self.workspace.store.exists(self.workspace.success) or uri not in self.store._objects:
            return False
        del self.store._objects[uri]
        return True

    # how it ends

    def live_on(self, rounds: int) -> None:
        """Let control, a planner and a worker live on, and nobody else do anything."""
        for _ in range(rounds):
            self.wait()
            busy = {actor.name for actor in self.actors}
            if "planner" not in busy:
                for _ in range(3):
                    self.plan().finish()
            for number in (0, 1):
                if f"control {number}" not in busy:
                    self.look(number).finish()
            for number in (0, 1):
                if f"feeder {number}" not in busy:
                    self.feed(number).finish()
            while self.redis.llen(QUEUE):
                self.work().finish()
            self.forget_ended()

    def needs_operator(self) -> bool:
        """Whether the job waits for somebody: it is halted, a command was killed, or Redis lost the job while
        no control process knew it."""
        if self.interrupted or not self.workspace.store.exists(self.workspace.job_json):
            return True
        if self.workspace.load_halt():
            return True
        known = any(self.job.id in control.known for control in self.controls)
        return self.ledger.load(self.job.id) is None and not known

    def check_end(self) -> None:
        """Check that the job has ended with each item once, and that the ledger tells the same."""
        job, progress = self.workspace.require_job(), self.ledger.load(self.job.id)
        assert job.plan
        assert self.workspace.store.exists(self.workspace.success), (progress, self.workspace.load_halt())
        results = [json.loads(line) for line in self.workspace.lines(self.workspace.results)]
        ended = [json.loads(line) for line in self.workspace.lines(self.workspace.errors)]
        errors = [line["id"] for line in ended]
        unread = {line["id"] for line in ended if line["error"]["code"] == "deadline"}
        failed = sorted(unread | ({FOR_EVER} if job.retries else FAILING))
        assert errors == failed
        assert not unread or job.at_deadline == "partial"
        assert [line["id"] for line in results] == [item.id for item in ITEMS if item.id not in failed]
        again = {line["id"] for line in results if line["value"] == "again"}
        if job.at_deadline == "partial":  # the second round also holds what the deadline has cut off
            assert again >= FAILING - set(failed)
        else:
            assert again == FAILING - set(failed)
        if progress is None:
            return  # Redis was emptied after the job's end, which nobody needs to know
        assert progress.status == "completed"
        assert (progress.chunks_done, progress.chunks_total) == (job.chunks, job.chunks)
        assert (progress.completed, progress.failed) == (len(ITEMS) - len(failed), len(failed))
        assert sorted(item.id for item in progress.recent_errors) == failed


FAILURES: dict[str, Callable[[], Exception]] = {
    "stopping": lambda: InterruptedChunkError("the worker is stopping"),
    "storage away": lambda: StorageUnavailableError("S3 cannot be reached"),
    "a bug": lambda: RuntimeError("unexpected"),
}
"""How a run of a chunk ends besides with its part."""
