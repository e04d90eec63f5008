"""`Idempotency-Key`: a request that is sent again creates no second job."""

import hashlib
from dataclasses import dataclass

import msgspec
import redis

from contract.errors import TraceOcrError
from contract.lines import UNREADABLE
from producer.api.job_request import JobRequest


class IdempotencyConflictError(TraceOcrError):
    """The `Idempotency-Key` was used for another request."""


class _Remembered(msgspec.Struct, frozen=True):
    fingerprint: str
    job: str


@dataclass(frozen=True)
class IdempotencyKeys:
    """The request of each `Idempotency-Key`, so that a retried request creates no second job."""

    client: redis.Redis
    namespace: str
    retention_seconds: float

    def job_for(self, caller: str, key: str, request: JobRequest, job: str) -> tuple[str, bool]:
        """Return the id of the request's job, and whether an earlier call used the key for the same request.

        Keys are separate for each caller, which is the name of an API key.

        Raises:
            IdempotencyConflictError: the earlier call was another request
        """
        ours = _Remembered(hashlib.sha256(request.model_dump_json().encode()).hexdigest(), job)
        name = self._name(caller, key)
        if self.client.set(name, msgspec.json.encode(ours), nx=True, ex=int(self.retention_seconds)):
            return job, False
        try:
            theirs = msgspec.json.decode(str(self.client.get(name)), type=_Remembered)
        except UNREADABLE:  # it expired in between, or is damaged
            self.client.set(name, msgspec.json.encode(ours), ex=int(self.retention_seconds))
            return job, False
        if theirs.fingerprint != ours.fingerprint:
            raise IdempotencyConflictError("this Idempotency-Key was used for another request: use a new one")
        return theirs.job, True

    def forget(self, caller: str, key: str) -> None:
        """Forget a key whose request was refused, so that it may be used for the corrected one."""
        self.client.delete(self._name(caller, key))

    def _name(self, caller: str, key: str) -> str:
        return f"{self.namespace}:idempotency:{hashlib.sha256(f'{caller} {key}'.encode()).hexdigest()}"
