"""The Celery app, its queues and what waits in them. Every setting has its reason in docs/decisions/0003."""

import json
import math
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
import redis
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from contract.errors import BrokerError
from contract.records import ChunkMessage, Nudge

if TYPE_CHECKING:
    from contract.settings import Settings

RECOGNITION_TASK = "trace_ocr.recognition"
UPLOADS_TASK = "trace_ocr.uploads"
KINDS = ("recognition",)
"""Kinds of jobs; each has a queue, and urgent work of every kind has one that is asked first."""

SOCKET_SECONDS, CONNECT_SECONDS, HEALTH_CHECK_SECONDS = 30, 10, 25
"""Redis time-outs; the health check is shorter than the socket's so that a dead peer is noticed first."""

RETRIES = 5
"""Tries of one ledger command before its caller hears of it: some seconds, a Redis restart."""

PEEK = 500
"""Messages looked at in one LRANGE: about half a megabyte."""

_UNACKED = "unacked"
_UNACKED_INDEX = "unacked_index"


def make_app(settings: "Settings") -> Celery:
    """Return a Celery app over the settings' broker: JSON only, late acks, no result backend."""
    app = Celery("trace-ocr", broker=_kombu_url(settings.broker_url()), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_queues=[Queue(name) for name in queue_names(settings.namespace)],
        task_create_missing_queues=False,
        task_default_queue=queue_for(settings.namespace, KINDS[0], urgent=False),
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options=_transport_options(settings),
    )
    return app


def queue_for(namespace: str, kind: str, *, urgent: bool) -> str:
    """Return the queue that a job's chunks go to."""
    return f"{namespace}.{'urgent' if urgent else kind}"


def queue_names(namespace: str) -> tuple[str, ...]:
    """Return all queues, in the order in which workers ask them."""
    return f"{namespace}.urgent", *(f"{namespace}.{kind}" for kind in KINDS)


def _transport_options(settings: "Settings") -> dict[str, Any]:
    return {
        "visibility_timeout": settings.visibility_timeout,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        # Queues are asked in the order in which the worker names them: urgent first.
        "queue_order_strategy": "priority",
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_SECONDS,
    }


def make_redis(settings: "Settings", *, retries: int = RETRIES, raw: bool = False) -> redis.Redis:
    """Return a Redis client for the ledger; commands are retried with backoff while Redis is away.

    Args:
        retries: tries of one command; fewer for those whose caller would rather hear of it soon
        raw: answers are bytes instead of text, as `contract.uploads` needs them
    """
    url = settings.broker_url()
    over_network: dict[str, Any] = {} if url.startswith("unix://") else {"socket_keepalive": True}
    try:
        return redis.Redis.from_url(
            url,
            **over_network,
            decode_responses=not raw,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=Retry(ExponentialBackoff(cap=2.0, base=0.1), retries),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
        )
    except ValueError:
        # Not chained, and without the cause's words: they hold the part of the URL that is a password.
        raise BrokerError(
            "TRACE_OCR_REDIS_URL is no Redis URL such as redis://:password@host:6379/0; in a password, "
            "the characters / ? # @ and % are written as %2F %3F %23 %40 and %25"
        ) from None


def send_chunk(app: Celery, message: ChunkMessage, queue: str, total: int | None) -> None:
    """Publish the pointer to one chunk.

    The task's id is the chunk's name, so that what waits in Redis can be told apart without decoding it.

    Raises:
        BrokerError: Redis cannot be reached
    """
    shown = f"{message.job} {message.chunk + 1}/{total if total is not None else '?'}"
    try:
        app.send_task(
            RECOGNITION_TASK,
            kwargs={"job": message.job, "workspace": message.workspace, "chunk": message.chunk},
            task_id=task_id(message.job, message.chunk),
            queue=queue,
            headers=_headers(),
            argsrepr=shown,
            kwargsrepr="",
        )
    except OperationalError as error:
        raise BrokerError(f"Redis cannot be reached to queue a chunk ({error}): is it up?") from error


def send_nudge(app: Celery, namespace: str, nudge: Nudge) -> None:
    """Tell a worker, through the urgent queue, that uploads wait.

    Raises:
        BrokerError: Redis cannot be reached
    """
    try:
        app.send_task(
            UPLOADS_TASK,
            kwargs=msgspec.to_builtins(nudge),
            # No slash, so that it is never taken for a chunk's.
            task_id=f"uploads-{secrets.token_hex(8)}",
            queue=queue_for(namespace, KINDS[0], urgent=True),
            headers=_headers(),
            argsrepr=f"uploads {nudge.recognition_model}",
            kwargsrepr="",
        )
    except OperationalError as error:
        raise BrokerError(f"Redis cannot be reached to announce uploads ({error}): is it up?") from error


def task_id(job: str, chunk: int) -> str:
    """Return the Celery task id of a chunk."""
    return f"{job}/{chunk}"


def waiting_chunks(client: redis.Redis, namespace: str, job: str) -> set[int]:
    """Return the chunks of a job that are queued, or taken by a worker and not yet acknowledged."""
    return {
        int(chunk)
        for owner, _, chunk in (identity.rpartition("/") for identity in _waiting(client, namespace))
        if owner == job and chunk.isdigit()
    }


def queue_depth(client: redis.Redis, namespace: str) -> int:
    """Return the messages queued plus those in workers' hands."""
    return sum(queue_lengths(client, namespace).values()) + unacked_messages(client)


def queue_lengths(client: redis.Redis, namespace: str) -> dict[str, int]:
    """Return the messages that wait in each queue."""
    return {name: client.llen(name) for name in queue_names(namespace)}


def unacked_messages(client: redis.Redis) -> int:
    """Return the messages in workers' hands; of every namespace of the database, as kombu keeps them."""
    return client.hlen(_UNACKED)


def oldest_message_age(client: redis.Redis, namespace: str, now: float) -> float:
    """Return how many seconds ago the oldest message that waits was sent; 0 where none says."""
    # Kombu pushes on the left and pops on the right.
    last = (client.lindex(name, -1) for name in queue_names(namespace))
    sent = [at for at in map(_sent_at, last) if at is not None]
    return max(0.0, now - min(sent)) if sent else 0.0


def oldest_lease_age(client: redis.Redis, now: float) -> float:
    """Return how many seconds ago the least recently renewed lease was renewed; 0 where there is none."""
    oldest = cast("list[tuple[str, float]]", client.zrange(_UNACKED_INDEX, 0, 0, withscores=True))
    return max(0.0, now - oldest[0][1]) if oldest else 0.0


def _headers() -> dict[str, float]:
    return {"sent_at": time.time()}


def _sent_at(text: str | bytes | None) -> float | None:
    """Return when a message was sent, in Unix seconds, or None if it does not say."""
    try:
        message = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    headers = message.get("headers") if isinstance(message, dict) else None
    at = headers.get("sent_at") if isinstance(headers, dict) else None
    return at if isinstance(at, float) and math.isfinite(at) else None


def _waiting(client: redis.Redis, namespace: str) -> Iterator[str]:
    # Unacknowledged first would miss a message taken between the two looks; queued first sees it once
    # at least, and seeing it twice does no harm.
    for name in queue_names(namespace):
        start = 0
        while page := cast("list[str]", client.lrange(name, start, start + PEEK - 1)):
            yield from map(_identity, map(_parsed, page))
            start += len(page)
    for _, text in client.hscan_iter(_UNACKED, count=PEEK):
        delivery = _parsed(text)
        yield _identity(delivery[0] if isinstance(delivery, list) and delivery else None)


def _parsed(text: str) -> Any:
    """Return the JSON value, None for what is none: a stranger's entry must not stop the reconciler."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _identity(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    return str(headers.get("id", "")) if isinstance(headers, dict) else ""


def _kombu_url(url: str) -> str:
    """Kombu names a Unix socket's scheme differently from redis-py."""
    if not url.startswith("unix://"):
        return url
    path, _, query = url.removeprefix("unix://").partition("?")
    options = [("virtual_host" if name == "db" else name, value) for name, value in parse_qsl(query)]
    return f"redis+socket://{path}" + (f"?{urlencode(options)}" if options else "")
