"""What waits in the broker: looks at kombu's own keys, which change nothing."""

import json
import math
from collections.abc import Iterator
from typing import Any, cast

import redis

from contract.broker.app import queue_names

PEEK = 500
"""Messages looked at in one LRANGE: about half a megabyte."""

_UNACKED = "unacked"

UNACKED_INDEX = "unacked_index"
"""Kombu's sorted set of delivery tag -> time of delivery; a tag older than the visibility timeout is
delivered again. Kombu offers no way to renew it, so workers touch the key directly (docs/decisions/0003)."""


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
    oldest = cast("list[tuple[str, float]]", client.zrange(UNACKED_INDEX, 0, 0, withscores=True))
    return max(0.0, now - oldest[0][1]) if oldest else 0.0


def _sent_at(text: str | bytes | None) -> float | None:
    """Return when a message was sent, in Unix seconds, or None if it does not say."""
    message = _parsed(text)
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


def _parsed(text: str | bytes | None) -> Any:
    """Return the JSON value, None for what is none: a stranger's entry must not stop the reconciler."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _identity(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    return str(headers.get("id", "")) if isinstance(headers, dict) else ""
