"""What the ledger is asked: nothing here changes it. `ledger.lua` begins with the schema of its keys."""

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import structlog

from contract.broker.line import FIELDS, Standing, parse_standing
from contract.broker.progress import Progress, parse_progress
from contract.chunk_set import ChunkSet
from contract.states import ENDED
from contract.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from redis import Redis

LOADED_AT_ONCE = 500
"""Jobs that are read in one round trip: some megabytes, and Redis serves others in between."""


class LedgerQueries:
    """Reads the progress of jobs; `Ledger` says what its arguments are."""

    def __init__(self, redis: "Redis", namespace: str, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._prefix = namespace + ":"
        self._clock = clock

    def attempts(self, job: str, chunk: int) -> int:
        """Return how many runs of a chunk have started."""
        return int(self._redis.hget(f"{self._prefix}job:{job}:attempts", str(chunk)) or 0)

    def begun(self, job: str) -> frozenset[int]:
        """Return the chunks of which a run has begun and none has ended with a part."""
        key = f"{self._prefix}job:{job}:attempts"
        found = cast("dict[str, str]", self._redis.hgetall(key))
        return frozenset(int(chunk) for chunk, runs in found.items() if runs not in ("0", ""))

    def done(self, job: str) -> ChunkSet:
        """Return the chunks that are marked: a bit for each of the job's chunks comes from Redis."""
        client, key = cast("Any", self._redis), f"{self._prefix}job:{job}:done"
        return ChunkSet(client.execute_command("GET", key, NEVER_DECODE=True) or b"")

    def statuses(self) -> dict[str, str]:
        """Return the status of each job in Redis, newest first, in two round trips."""
        known = cast("list[str]", self._redis.zrevrange(self._prefix + "jobs", 0, -1))
        pipeline = self._redis.pipeline(transaction=False)
        for job in known:
            pipeline.hget(f"{self._prefix}job:{job}", "status")
        found = pipeline.execute(raise_on_error=False)
        return {job: status for job, status in zip(known, found, strict=True) if isinstance(status, str)}

    def line(self) -> list[Standing]:
        """Return the jobs with chunks that control has still to send, oldest first, in two round trips."""
        names = sorted(cast("set[str]", self._redis.smembers(self._prefix + "line")))
        pipeline = self._redis.pipeline(transaction=False)
        for job in names:
            pipeline.hmget(f"{self._prefix}job:{job}", FIELDS)
        standings = []
        for job, values in zip(names, pipeline.execute(raise_on_error=False), strict=True):
            # An error in place of values, or a damaged record: `load` logs it.
            with contextlib.suppress(TypeError, ValueError):
                standings.append(parse_standing(job, values))
        return sorted(standings, key=lambda one: (one.created_at, one.job))

    def tenants(self, jobs: Iterable[str]) -> dict[str, str]:
        """Return the tenant of each of the jobs that Redis knows, in one round trip."""
        asked = list(jobs)
        pipeline = self._redis.pipeline(transaction=False)
        for job in asked:
            pipeline.hmget(f"{self._prefix}job:{job}", "workspace", "tenant")
        found = zip(asked, pipeline.execute(raise_on_error=False), strict=True)
        return {
            job: values[1] or DEFAULT_TENANT
            for job, values in found
            if isinstance(values, list) and values[0]
        }

    def items_waiting(self, tenant: str, besides: str = "") -> int:
        """Return how many items of a tenant's jobs that have not ended are planned and not read.

        Args:
            besides: a job that does not count
        """
        waiting = 0
        statuses = self.statuses()
        pipeline = self._redis.pipeline(transaction=False)
        open_jobs = [job for job, status in statuses.items() if status not in ENDED and job != besides]
        for job in open_jobs:
            pipeline.hmget(f"{self._prefix}job:{job}", FIELDS)
        for job, values in zip(open_jobs, pipeline.execute(raise_on_error=False), strict=True):
            with contextlib.suppress(TypeError, ValueError):
                standing = parse_standing(job, values)
                waiting += standing.items_left if standing.tenant == tenant else 0
        return waiting

    def load(self, job: str) -> Progress | None:
        """Return a job's progress, or None if Redis does not know it, or holds no record that can be read."""
        return self.load_all([job], transaction=True).get(job)

    def load_all(
        self, jobs: Iterable[str], *, whole: bool = True, transaction: bool = False
    ) -> dict[str, Progress]:
        """Return the progress of those jobs that Redis knows, in one round trip for LOADED_AT_ONCE jobs.

        Args:
            whole: with running chunks, rates, stages and errors, which take most of the time
            transaction: of one moment; else a worker may report between two values of a job
        """
        found: dict[str, Progress] = {}
        asked = list(jobs)
        for start in range(0, len(asked), LOADED_AT_ONCE):
            some = asked[start : start + LOADED_AT_ONCE]
            pipeline = self._redis.pipeline(transaction=transaction)
            for job in some:
                self._ask(pipeline, f"{self._prefix}job:{job}", whole=whole)
            # An error in place of a value: the key is of another type.
            values = pipeline.execute(raise_on_error=False)
            each = len(values) // len(some)
            for number, job in enumerate(some):
                progress = self._parsed(job, values[number * each : (number + 1) * each])
                if progress:
                    found[job] = progress
        return found

    @staticmethod
    def _ask(pipeline: Any, key: str, *, whole: bool) -> None:
        pipeline.hgetall(key)
        if whole:
            pipeline.hgetall(key + ":running")
            pipeline.lrange(key + ":rate", 0, -1)
            pipeline.hgetall(key + ":stages")
            pipeline.lrange(key + ":errors", 0, -1)
            pipeline.hgetall(key + ":codes")

    def _parsed(self, job: str, values: list[Any]) -> Progress | None:
        try:
            return parse_progress(job, self._clock(), *values) if values[0].get("status") else None
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # Other jobs go on. Without the key, control restores this one from its workspace.
            key = f"{self._prefix}job:{job}"
            structlog.get_logger().error("job_record_damaged", job=job, delete=key, error=repr(error))
            return None

    def watched(self) -> tuple[dict[str, float], frozenset[str]]:
        """Return when each listed job was created in Unix seconds, oldest first, and which have not ended.

        Some of the jobs may have expired.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zrange(self._prefix + "jobs", 0, -1, withscores=True)
        pipeline.smembers(self._prefix + "unended")
        listed, unended = pipeline.execute()
        return dict(listed), frozenset(unended)
