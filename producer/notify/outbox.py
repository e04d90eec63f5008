"""The outbox: events in the workspace, noted before they are sent and marked after, so that none is lost.

`outbox/<type>-<at>.json` is one event and how far each receiver's notification has come. While one waits, an
entry `.trace-ocr/outbox/<id>.json` below the allowed root names the workspace, so that control finds it again
after a restart and with Redis empty.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import structlog

from contract.errors import JobError, ObjectMissingError, OutsideAllowedRootsError, TraceOcrError
from contract.job import Job
from contract.layout import RESERVED
from contract.settings import Settings
from contract.storage import Storage, join
from contract.storage.roots import AllowedRoots
from contract.workspace import MAX_JSON_BYTES, Workspace, intact, open_workspace
from producer.notify import channel_of
from producer.notify.base import ReceiverGoneError, host_of
from producer.notify.events import DAY, Delivery, Event, receivers

FOLDER = "outbox"
PENDING = (RESERVED, "outbox")

PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, *(14_400,) * 5)
"""Seconds between tries: 24 hours together."""

Send = Callable[[str, Event, Settings], None]


class _Place(msgspec.Struct, frozen=True):
    workspace: str


@dataclass(frozen=True)
class Outbox:
    """The events of one job."""

    job: Job
    workspace: Workspace

    def note(self, event: Event) -> bool:
        """Write an event, unless it is there; return whether this call wrote it."""
        uri = self.workspace.path(FOLDER, f"{event.type}-{event.at:.0f}.json")
        return self.workspace.store.create(uri, msgspec.json.encode(event))

    def events(self) -> Iterator[tuple[str, Event]]:
        """Yield the URI and the content of each event."""
        for name in sorted(self.workspace.store.names(self.workspace.path(FOLDER))):
            uri = self.workspace.path(FOLDER, name)
            if name.endswith(".json"):
                with intact(uri):
                    data = self.workspace.store.read(uri, MAX_JSON_BYTES)
                    yield uri, msgspec.json.decode(data, type=Event)

    def deliver(self, settings: Settings, now: float, send: Send) -> float | None:
        """Send what is due; return when the next try is due, in Unix seconds, or None if nothing is left."""
        wanted, events = receivers(self.job, settings), list(self.events())
        gone = {name for _, event in events for name, one in event.deliveries.items() if one.state == "gone"}
        waiting: list[float] = []
        for uri, event in events:
            for name, url in wanted.items():
                told = event.deliveries.get(name, Delivery())
                if told.state == "pending" and name in gone:
                    told = msgspec.structs.replace(told, state="gone")
                elif told.state == "pending" and told.next_at <= now:
                    told = _tried(event, url, told, settings, now, send)
                    gone |= {name} if told.state == "gone" else set()
                if told != event.deliveries.get(name):
                    event = msgspec.structs.replace(event, deliveries={**event.deliveries, name: told})
                    self.workspace.store.replace(uri, msgspec.json.encode(event))
                if told.state == "pending":
                    waiting.append(told.next_at)
        return min(waiting, default=None)


def deliver(url: str, event: Event, settings: Settings, now: float) -> None:
    """Send an event to one receiver.

    Raises:
        DeliveryError: it was not accepted
        UsageError: the channel is not installed, or a secret cannot be used
    """
    channel_of(url).send(url, event.message(now), settings)


def _tried(event: Event, url: str, told: Delivery, settings: Settings, now: float, send: Send) -> Delivery:
    log = structlog.get_logger().bind(event=event.id, type=event.type, receiver=host_of(url))
    attempts = told.attempts + 1
    try:
        send(url, event, settings)
    except ReceiverGoneError as error:
        log.warning("notification_refused", error=str(error))
        return Delivery("gone", attempts, 0.0, str(error))
    except TraceOcrError as error:
        pause = max(_pause(event, attempts), getattr(error, "after", 0.0))
        if now >= event.at + DAY:
            log.error("notification_given_up", attempts=attempts, error=str(error))
            return Delivery("given_up", attempts, 0.0, str(error))
        log.warning("notification_delayed", attempts=attempts, seconds=round(pause), error=str(error))
        return Delivery("pending", attempts, now + pause, str(error))
    log.info("notification_sent", attempts=attempts)
    return Delivery("delivered", attempts)


def _pause(event: Event, attempts: int) -> float:
    """Return the seconds until the next try; up to a tenth more, which differs from event to event."""
    pause = PAUSES[min(attempts, len(PAUSES)) - 1]
    return pause * (1 + int(event.id[-2:], 16) / 2560)


@dataclass(frozen=True)
class PendingOutboxes:
    """The workspaces with events that wait, below all allowed roots."""

    roots: AllowedRoots
    storage: Storage

    def add(self, job: Job, workspace: Workspace) -> None:
        """Note that a workspace has something to send; one below no allowed root is not noted."""
        uri = self._entry(job.id, workspace)
        if uri:
            self.storage.at(uri).create(uri, msgspec.json.encode(_Place(workspace.root)))

    def remove(self, job: Job, workspace: Workspace) -> None:
        """Note that a workspace has nothing left to send."""
        uri = self._entry(job.id, workspace)
        if uri:
            self.storage.at(uri).delete(uri)

    def workspaces(self) -> Iterator[Workspace]:
        """Yield the workspaces, and forget those whose job is gone; damaged entries are passed over."""
        for root in self.roots:
            folder = join(root, *PENDING)
            for name in self.storage.at(folder).names(folder):
                uri = join(folder, name)
                try:
                    with intact(uri):
                        place = msgspec.json.decode(
                            self.storage.at(uri).read(uri, MAX_JSON_BYTES), type=_Place
                        )
                    workspace = open_workspace(place.workspace, self.storage, self.roots)
                    if workspace.load_job() is None:
                        self.storage.at(uri).delete(uri)
                    else:
                        yield workspace
                except (JobError, ObjectMissingError, OutsideAllowedRootsError) as error:
                    structlog.get_logger().warning("outbox_entry_ignored", entry=uri, error=str(error))

    def _entry(self, job: str, workspace: Workspace) -> str | None:
        try:
            return join(self.roots.containing(workspace.root), *PENDING, f"{job}.json")
        except OutsideAllowedRootsError:
            return None


def remove_events(workspace: Workspace) -> int:
    """Remove the events of a job; return how many there were."""
    folder = workspace.path(FOLDER)
    names = [name for name in workspace.store.names(folder) if name.endswith(".json")]
    for name in names:
        workspace.store.delete(join(folder, name))
    return len(names)
