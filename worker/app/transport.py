"""kombu's Redis transport for workers: it drops what is in a queue and is no message of ours.

kombu and Celery take the contents of a queue for granted: bytes that are no JSON, or JSON that is no message,
end their event loop, and with it the process. A message that fails inside Celery stays with the
worker, and comes back after every visibility timeout.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty
from typing import Annotated, Any, Literal

import msgspec
import structlog
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.scheduling import priority_cycle
from redis import ConnectionPool, Redis, RedisError

from contract.broker.app import UPLOADS_TASK, task_for
from contract.errors import MessageError
from contract.kinds import KINDS
from contract.lines import UNREADABLE
from contract.records import SHOWN, Text
from worker.jobs.share import ChunkShare

TRANSPORTS = {"redis": "Transport", "rediss": "Transport", "sentinel": "SentinelTransport"}
"""kombu's names of its Redis transports, and ours for them; a Unix socket's URL resolves to the first."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=SHOWN)]


class _Headers(msgspec.Struct):
    """The headers that Celery acts on; it would hold back a message with an `eta`, without a bound."""

    task: _Name
    id: Text
    eta: None = None
    expires: None = None
    timelimit: tuple[None, None] | None = None


class _DeliveryInfo(msgspec.Struct):
    exchange: Literal[""]
    routing_key: _Name


class _Properties(msgspec.Struct):
    delivery_tag: _Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"]


class _Envelope(msgspec.Struct, rename="kebab"):
    """A message as Celery publishes it; the fields of its body are checked by the task."""

    body: str
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: _Headers
    properties: _Properties


def check_envelope(message: object, queue: str) -> None:
    """Raise MessageError if a queue's entry is no message that Celery can deliver to a task of ours."""
    try:
        envelope = msgspec.convert(message, _Envelope)
        body = base64.b64decode(envelope.body, validate=True)
        msgspec.json.decode(body, type=tuple[list[Any], dict[str, Any], dict[str, None]])
    except (*UNREADABLE, ValueError) as error:
        raise MessageError(f"an entry of {queue} is no message: {str(error)[:SHOWN]}") from error
    if envelope.headers.task not in {UPLOADS_TASK, *map(task_for, KINDS)}:
        raise MessageError(f"a message in {queue} is for the task {envelope.headers.task}, which is not ours")
    if envelope.properties.delivery_info.routing_key != queue:
        raise MessageError(f"a message in {queue} would be put back into another queue")


class QoS(redis.QoS):
    """kombu's record of the messages that a worker holds."""

    # kombu's, which its type stubs leave out.
    channel: Any
    _remove_from_indices: Any

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue; drop a record that is damaged, which would block all others."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except RedisError:
            raise
        # Any exception: the record may hold any bytes.
        except Exception as error:
            with self.channel.conn_or_acquire(client) as connection:
                self._remove_from_indices(tag, connection.pipeline()).execute()
            _log_dropped(error)


class _Guarded:
    """What a channel does differently: it asks Redis for messages, drops junk, and keeps its client."""

    QoS = QoS
    pool: ConnectionPool
    _kept: Redis | None = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return a client of the channel's pool; kombu makes one for each command, at half its cost."""
        if asynchronous:
            # Of a pool of its own, for connections that wait for messages; kombu keeps it.
            return super()._create_client(asynchronous)  # type: ignore[misc]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def _brpop_read(self, **options: Any) -> Any:
        with _dropping_junk():
            return super()._brpop_read(**options)  # type: ignore[misc]

    def _receive_one(self, client: Any) -> Any:
        with _dropping_junk():
            return super()._receive_one(client)  # type: ignore[misc]


class Channel(_Guarded, redis.Channel):  # type: ignore[misc]
    """kombu's channel of one server."""


class SentinelChannel(_Guarded, redis.SentinelChannel):  # type: ignore[misc]
    """kombu's channel of the server that the Sentinels name."""


class Transport(redis.Transport):
    """kombu's transport: hands messages to Celery."""

    Channel = Channel
    channels: Any

    def _deliver(self, message: Any, queue: Any) -> None:
        if queue in self._fanout_queues():
            # Remote control, by Flower for example.
            super()._deliver(message, queue)
            return
        check_envelope(message, queue)
        try:
            super()._deliver(message, queue)
        except (RedisError, OSError):
            raise
        except Exception:
            self._acknowledge(message["properties"]["delivery_tag"])
            raise

    def _fanout_queues(self) -> set[str]:
        return {queue for channel in self.channels for queue in channel.active_fanout_queues}

    def _acknowledge(self, tag: str) -> None:
        """Acknowledge a message that Celery failed on: it would count as in hand until the process ends."""
        for channel in self.channels:
            channel.basic_ack(tag)


class SentinelTransport(Transport):
    """The same through Sentinels."""

    default_port = redis.SentinelTransport.default_port
    Channel = SentinelChannel  # type: ignore[assignment]


class QueueOrder(priority_cycle):  # type: ignore[type-arg]
    """The order in which a channel asks queues: uploads first, or last when it is the chunks' turn."""

    def __init__(self, share: ChunkShare, uploads: str) -> None:
        super().__init__()
        self._share, self._uploads = share, uploads

    def consume(self, n: int) -> Any:
        """Return the queues in order."""
        last = {self._uploads} if self._share.chunks_are_due() else set()
        return sorted(super().consume(n), key=last.__contains__)


@dataclass(frozen=True)
class ByShare:
    """kombu's `queue_order_strategy`: makes each channel's order."""

    share: ChunkShare
    uploads: str

    def __call__(self) -> QueueOrder:
        return QueueOrder(self.share, self.uploads)

    def __json__(self) -> str:
        """Return what Celery's inspection, and so Flower, shows of it."""
        return "by share"


def use_transport(app: Celery, share: ChunkShare, uploads: str) -> None:
    """Make this process consume through this transport, for every form of Redis URL.

    Args:
        uploads: the name of the uploads' queue
    """
    TRANSPORT_ALIASES.update({scheme: f"{__name__}:{name}" for scheme, name in TRANSPORTS.items()})
    order = {"queue_order_strategy": ByShare(share, uploads)}
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **order}


@contextmanager
def _dropping_junk() -> Iterator[None]:
    """Report an entry that cannot be delivered as none: Redis has handed it out, so it is gone."""
    try:
        yield
    except (RedisError, OSError, Empty):
        raise
    # Any exception: the entry may hold any bytes, and kombu's decoder raises many types.
    except Exception as error:
        _log_dropped(error)
        raise Empty from error


def _log_dropped(error: Exception) -> None:
    structlog.get_logger().error("message_dropped", error=f"{type(error).__name__}: {error}"[:SHOWN])
