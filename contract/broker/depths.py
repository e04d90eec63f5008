"""What waits in the broker: read-only looks at kombu's own keys."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import redis

from contract.broker.app import queue_names

PEEK = 500
"""Messages read by one LRANGE: about half a megabyte."""

_UNACKED = "unacked"

_CHUNK = re.compile("[0-9]{1,8}")

UNACKED_INDEX = "unacked_index"
"""Kombu's sorted set of delivery tag -> time of delivery. A message whose tag is older than the visibility
timeout is delivered again. Kombu has no way to renew a tag, so workers update the key directly
(docs/decisions/0003)."""


def waiting_chunks(
    client: redis.Redis, namespace: str, job: str, oldest_lease: float = -math.inf
) -> set[int]:
    """Return the chunks of a job that are queued, or held by a worker.

    Args:
        oldest_lease: Unix seconds. Nobody holds a message whose lease is older or missing: kombu should have
            delivered it again, but its restore fails or is locked out
    """
    return waiting_by_job(client, namespace, oldest_lease).get(job, set())


def waiting_by_job(
    client: redis.Redis, namespace: str, oldest_lease: float = -math.inf
) -> dict[str, set[int]]:
    """Return the chunks of each job that are queued, or held by a worker; as `waiting_chunks`."""
    chunks: defaultdict[str, set[int]] = defaultdict(set)
    for identity in _waiting(client, namespace, oldest_lease):
        job, _, chunk = identity.rpartition("/")
        if _CHUNK.fullmatch(chunk):
            chunks[job].add(int(chunk))
    return dict(chunks)


def queue_depth(client: redis.Redis, namespace: str) -> int:
    """Return the number of messages that are queued or unacked."""
    return sum(queue_lengths(client, namespace).values()) + unacked_messages(client)


def queue_lengths(client: redis.Redis, namespace: str) -> dict[str, int]:
    """Return the number of messages that wait in each queue."""
    return {name: client.llen(name) for name in queue_names(namespace)}


def chunks_wait(client: redis.Redis, namespace: str) -> bool:
    """Return whether the chunk of any job waits in a queue."""
    _, *queues = queue_names(namespace)
    return any(client.llen(name) for name in queues)


def unacked_messages(client: redis.Redis) -> int:
    """Return the number of unacked messages of all namespaces: kombu keeps them in one key per database."""
    return client.hlen(_UNACKED)


class Depth(NamedTuple):
    """One queue: its messages, and the age of the oldest in seconds; 0 if none has a send time."""

    name: str
    messages: int
    oldest_seconds: float


def queue_depths(client: redis.Redis, namespace: str, now: float) -> list[Depth]:
    """Return the queues in polling order, in one round trip."""
    names = queue_names(namespace)
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.llen(name)
        # Kombu pushes on the left and pops on the right.
        pipeline.lindex(name, -1)
    found = pipeline.execute()
    sent = map(_sent_at, found[1::2])
    ages = (0.0 if at is None else max(0.0, now - at) for at in sent)
    return list(map(Depth, names, found[::2], ages))


def oldest_lease_age(client: redis.Redis, now: float) -> float:
    """Return the seconds since the least recently renewed lease was renewed; 0 if there is none."""
    oldest = cast("list[tuple[str, float]]", client.zrange(UNACKED_INDEX, 0, 0, withscores=True))
    return max(0.0, now - oldest[0][1]) if oldest else 0.0


def _sent_at(text: str | bytes | None) -> float | None:
    """Return when a message was sent, in Unix seconds, or None if it has no send time."""
    message = _parsed(text)
    headers = message.get("headers") if isinstance(message, dict) else None
    at = headers.get("sent_at") if isinstance(headers, dict) else None
    return at if isinstance(at, float) and math.isfinite(at) else None


def _waiting(client: redis.Redis, namespace: str, oldest_lease: float) -> Iterator[str]:
    # Reading unacked messages first would miss one that is delivered between the two reads. Queued first sees
    # it at least once, and seeing it twice does no harm.
    for name in queue_names(namespace):
        start = 0
        while page := cast("list[str]", client.lrange(name, start, start + PEEK - 1)):
            yield from map(_identity, map(_parsed, page))
            start += len(page)
    unacked = dict(client.hscan_iter(_UNACKED, count=PEEK))
    # After the messages: one that is delivered in between has a lease, too.
    held = unacked if oldest_lease == -math.inf else _leased_since(client, oldest_lease)
    for delivery in (_parsed(text) for tag, text in unacked.items() if tag in held):
        yield _identity(delivery[0] if isinstance(delivery, list) and delivery else None)


def _leased_since(client: redis.Redis, oldest: float) -> set[str]:
    return set(cast("list[str]", client.zrange(UNACKED_INDEX, oldest, "+inf", byscore=True)))


def _parsed(text: str | bytes | None) -> Any:
    """Return the JSON value, or None if it is invalid: a foreign entry must not stop the reconciler."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _identity(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    return str(headers.get("id", "")) if isinstance(headers, dict) else ""
