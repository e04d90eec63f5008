"""The events of a job, and who is notified of them."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from contract.job import Job
from contract.job_status import RequestCounts
from contract.settings import Settings
from contract.states import State
from contract.workspace import Workspace
from producer.notify import OPEN, scheme_of
from producer.notify.base import Message
from producer.results.judgement import quality_low

DAY = 86_400.0
"""Seconds for which an event is tried."""


class EventType(StrEnum):
    """What can happen to a job."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    DEADLINE_AT_RISK = "job.deadline_at_risk"
    QUALITY_LOW = "job.quality_low"
    TEST = "test"


class Delivery(msgspec.Struct, frozen=True):
    """How far one receiver's notification has come. `next_at` is Unix seconds; `error` is of the last try."""

    state: Literal["pending", "delivered", "gone", "given_up"] = "pending"
    attempts: int = 0
    next_at: float = 0.0
    error: str = ""


class Event(msgspec.Struct, frozen=True):
    """Something that happened at `at`, in Unix seconds; `deliveries` is by receiver, as `receiver_of`."""

    id: str
    type: EventType
    at: float
    data: dict[str, Any]
    deliveries: dict[str, Delivery] = {}

    def message(self, now: float) -> Message:
        """Return what is sent; the body is the same at every try."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat()
        body = msgspec.json.encode({"type": self.type, "timestamp": at, "data": self.data})
        return Message(self.id, now, body, _title(self), _text(self))


def receivers(job: Job, settings: Settings) -> dict[str, str]:
    """Return the URLs that a job's events go to, by receiver: its own webhooks, or those of the settings.

    Only settings may name other channels: a job.json must not use the credentials of this system.
    """
    own = [url for url in job.notify if scheme_of(url) in OPEN]
    return {receiver_of(url): url for url in own or settings.notify}


def receiver_of(url: str) -> str:
    """Return a name of a URL that gives nothing of it away."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def event_of(type_: EventType, job: Job, workspace: Workspace, at: float, data: dict[str, Any]) -> Event:
    """Return an event; the same happening has the same id, whichever process notes it."""
    said = f"{job.id} {workspace.root} {type_} {at:.0f}"
    return Event(f"msg_{hashlib.sha256(said.encode()).hexdigest()[:24]}", type_, at, data)


def data_of(
    job: Job, workspace: Workspace, state: State, settings: Settings, counts: RequestCounts | None = None
) -> dict[str, Any]:
    """Return what events say about a job: little, and no texts of its items."""
    summary = workspace.load_summary() if state is State.COMPLETED else None
    low = quality_low(summary or {})
    halt = workspace.load_halt() if state is not State.COMPLETED else None
    data = {
        "id": job.id,
        "status": state,
        "kind": job.kind,
        "request_counts": summary["request_counts"] if summary else counts,
        "workspace": workspace.root,
        "tags": job.tags,
        "metadata": job.metadata,
        "error": halt.message if halt else "",
        "quality_low": low,
        "links": links_of(job, settings),
    }
    return {name: value for name, value in data.items() if value not in ("", None, (), [], {})}


def links_of(job: Job, settings: Settings) -> dict[str, str]:
    """Return where the HTTP API has more about a job; paths, if its address is not set."""
    base = (settings.api_url or "").rstrip("/")
    names = {"job": "", "summary": "/summary", "results": "/results", "errors": "/errors"}
    return {name: f"{base}/jobs/{job.id}{path}" for name, path in names.items()}


def _title(event: Event) -> str:
    what = event.type.removeprefix("job.").replace("_", " ")
    return f"{event.data.get('id', 'trace-ocr')}: {what}"


def _text(event: Event) -> str:
    counts = msgspec.to_builtins(event.data.get("request_counts") or {})
    lines = (
        [f"{counts['completed']:,} of {counts['total']:,} items read, {counts['failed']:,} failed"]
        if counts
        else []
    )
    lines += [event.data["error"]] if event.data.get("error") else []
    lines += event.data.get("quality_low", ())
    lines += [event.data["workspace"]] if "workspace" in event.data else []
    return "\n".join(lines) or "This is a test."
