"""The Celery app, its queues and how messages are sent. docs/decisions/0003 explains each setting."""

import re
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from contract.broker.sentinel import sentinel_address
from contract.errors import BrokerError
from contract.kinds import DEFAULT_KIND, KINDS
from contract.records import ChunkMessage, Nudge

if TYPE_CHECKING:
    from celery import Celery

    from contract.settings import Settings

UPLOADS_TASK = "trace_ocr.uploads"
SOCKET_SECONDS, CONNECT_SECONDS, HEALTH_CHECK_SECONDS = 30, 10, 25
"""Redis timeouts. The health check is shorter than the socket timeout to detect a dead peer first."""

RESTORE_SECONDS = 10
"""Seconds between kombu's checks for messages to deliver again, and how long one may lock out the others.
Two at once do no harm: each message is moved in one transaction."""

RETRIES = 5
"""Tries of one ledger command before it raises: a few seconds, enough for a Redis restart."""

_CELERYS_SPELLING = re.compile(r"([?&]ssl_cert_reqs=)CERT_(NONE|OPTIONAL|REQUIRED)\b")
"""How Celery's documentation writes redis-py's `ssl_cert_reqs=none`; kombu accepts both."""


def make_app(settings: "Settings") -> "Celery":
    """Return a Celery app over the settings' broker: JSON only, late acks, no result backend."""
    # Imported here: most commands only read Redis, and `run` must start its worker first.
    from celery import Celery
    from kombu import Queue

    url = settings.broker_url()
    sentinels = sentinel_address(url)
    broker = sentinels.kombu_url() if sentinels else _kombu_url(url)
    app = Celery("trace-ocr", broker=broker, set_as_current=False)
    if sentinels and sentinels.tls is not None:
        app.conf.broker_use_ssl = sentinels.tls
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
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options={
            **_transport_options(settings),
            **(sentinels.transport_options() if sentinels else {}),
        },
    )
    return app


def queue_for(namespace: str, kind: str, *, urgent: bool) -> str:
    """Return the name of the queue for a job's chunks."""
    return f"{namespace}.{'urgent' if urgent else kind}"


def queue_names(namespace: str) -> tuple[str, ...]:
    """Return all queue names in polling order: uploads, urgent chunks, then one queue per kind."""
    return f"{namespace}.uploads", f"{namespace}.urgent", *(f"{namespace}.{kind}" for kind in KINDS)


def _transport_options(settings: "Settings") -> dict[str, Any]:
    return {
        "visibility_timeout": settings.visibility_timeout,
        "unacked_restore_interval": RESTORE_SECONDS,
        "unacked_restore_throttle": 1,
        # Its holder may be killed; kombu's 300 s would then hold up every message that was not acked.
        "unacked_mutex_expire": min(RESTORE_SECONDS, settings.visibility_timeout),
        # Poll queues in the order in which the worker names them: urgent first.
        "queue_order_strategy": "priority",
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_SECONDS,
    }


def make_redis(settings: "Settings", *, retries: int = RETRIES, raw: bool = False) -> redis.Redis:
    """Return a Redis client for the ledger; it retries commands with backoff while Redis is unreachable.

    Args:
        retries: tries of one command; use fewer where the caller must fail fast
        raw: return bytes instead of text, as `contract.broker.uploads` needs
    """
    url = _CELERYS_SPELLING.sub(lambda found: found[1] + found[2].lower(), settings.broker_url())
    over_network: dict[str, Any] = {} if url.startswith("unix://") else {"socket_keepalive": True}
    options: dict[str, Any] = {
        **over_network,
        "decode_responses": not raw,
        # Foreign bytes become a wrong text, which its reader refuses, not an error of the client.
        "encoding_errors": "replace",
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=2.0, base=0.1), retries),
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError],
    }
    if sentinels := sentinel_address(url):
        return sentinels.client(**options)
    try:
        return redis.Redis.from_url(url, **options)
    except ValueError:
        # Not chained, and without the cause's message: it contains the password part of the URL.
        raise BrokerError(
            # Not redis://user:password@host, of which `redacted` would leave redis://***@host.
            "TRACE_OCR_REDIS_URL is not a Redis URL such as redis://host:6379/0, with user:password@ before "
            "the host if Redis asks for it; in a password, write the characters / ? # @ and % as %2F %3F %23 "
            "%40 and %25"
        ) from None


def task_for(kind: str) -> str:
    """Return the name of the task that reads chunks of that kind of job; Flower shows it."""
    return f"trace_ocr.{kind}"


def send_chunk(app: "Celery", message: ChunkMessage, kind: str, queue: str, total: int | None) -> None:
    """Publish the pointer to one chunk of a job of that kind.

    The task id names the chunk, so waiting messages can be identified without decoding their bodies.

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
    """Tell a worker that uploads wait, through the queue that workers poll first.

    Raises:
        BrokerError: Redis cannot be reached
    """
    from kombu.exceptions import OperationalError

    try:
        app.send_task(
            UPLOADS_TASK,
            kwargs=msgspec.to_builtins(nudge),
            # No slash, so that it never looks like a chunk's id.
            task_id=f"uploads-{secrets.token_hex(8)}",
            # Polled before the urgent chunks too: a client is waiting for each upload.
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
    """Return the URL in kombu's form.

    kombu uses another scheme for Unix sockets, puts the password before the path, and checks a TLS server's
    certificate only if asked to.
    """
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
