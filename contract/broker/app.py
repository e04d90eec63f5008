"""The Celery app, its queues and what waits in them. Every setting has its reason in docs/decisions/0003."""

import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from contract.errors import BrokerError
from contract.kinds import DEFAULT_KIND, KINDS
from contract.records import ChunkMessage, Nudge

if TYPE_CHECKING:
    from celery import Celery

    from contract.settings import Settings

UPLOADS_TASK = "trace_ocr.uploads"
SOCKET_SECONDS, CONNECT_SECONDS, HEALTH_CHECK_SECONDS = 30, 10, 25
"""Redis time-outs; the health check is shorter than the socket's so that a dead peer is noticed first."""

RETRIES = 5
"""Tries of one ledger command before its caller hears of it: some seconds, a Redis restart."""


def make_app(settings: "Settings") -> "Celery":
    """Return a Celery app over the settings' broker: JSON only, late acks, no result backend."""
    # Imported here: most commands only look into Redis, and `run` has better to do before its worker starts.
    from celery import Celery
    from kombu import Queue

    app = Celery("trace-ocr", broker=_kombu_url(settings.broker_url()), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_queues=[Queue(name) for name in queue_names(settings.namespace)],
        task_create_missing_queues=False,
        task_default_queue=queue_for(settings.namespace, DEFAULT_KIND, urgent=False),
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
    """Return all queues, in the order in which workers ask them: uploads, urgent work, then a kind each."""
    return f"{namespace}.uploads", f"{namespace}.urgent", *(f"{namespace}.{kind}" for kind in KINDS)


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
        raw: answers are bytes instead of text, as `contract.broker.uploads` needs them
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


def task_for(kind: str) -> str:
    """Return the name of the task that reads a chunk of a job of that kind, which is what Flower shows."""
    return f"trace_ocr.{kind}"


def send_chunk(app: "Celery", message: ChunkMessage, kind: str, queue: str, total: int | None) -> None:
    """Publish the pointer to one chunk of a job of that kind.

    The task's id is the chunk's name, so that what waits in Redis can be told apart without decoding it.

    Raises:
        BrokerError: Redis cannot be reached
    """
    from kombu.exceptions import OperationalError

    shown = f"{message.job} {message.chunk + 1}/{total if total is not None else '?'}"
    try:
        app.send_task(
            task_for(kind),
            kwargs={"job": message.job, "workspace": message.workspace, "chunk": message.chunk},
            task_id=task_id(message.job, message.chunk),
            queue=queue,
            headers=_headers(),
            argsrepr=shown,
            kwargsrepr="",
        )
    except OperationalError as error:
        raise BrokerError(f"Redis cannot be reached to queue a chunk ({error}): is it up?") from error


def send_nudge(app: "Celery", namespace: str, nudge: Nudge) -> None:
    """Tell a worker, through the queue that is asked first, that uploads wait.

    Raises:
        BrokerError: Redis cannot be reached
    """
    from kombu.exceptions import OperationalError

    try:
        app.send_task(
            UPLOADS_TASK,
            kwargs=msgspec.to_builtins(nudge),
            # No slash, so that it is never taken for a chunk's.
            task_id=f"uploads-{secrets.token_hex(8)}",
            # Asked before the urgent chunks too: somebody waits for each of these.
            queue=queue_names(namespace)[0],
            headers=_headers(),
            argsrepr=f"uploads {nudge.kind}",
            kwargsrepr="",
        )
    except OperationalError as error:
        raise BrokerError(f"Redis cannot be reached to announce uploads ({error}): is it up?") from error


def task_id(job: str, chunk: int) -> str:
    """Return the Celery task id of a chunk."""
    return f"{job}/{chunk}"


def _headers() -> dict[str, float]:
    return {"sent_at": time.time()}


def _kombu_url(url: str) -> str:
    """Return the URL as kombu wants it: it names a Unix socket's scheme otherwise and has the password before
    the path; and it checks a TLS server's certificate only if told to."""
    if url.startswith("rediss://"):
        return url if "ssl_cert_reqs=" in url else f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    if not url.startswith("unix://"):
        return url
    place, _, query = url.removeprefix("unix://").partition("?")
    options = dict(parse_qsl(query))
    user, password = options.pop("username", ""), options.pop("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    named = {"virtual_host" if name == "db" else name: value for name, value in options.items()}
    return f"redis+socket://{login}{place}" + (f"?{urlencode(named)}" if named else "")
