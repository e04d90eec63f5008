"""A worker's transport: the order in which queues are asked, and entries that are no messages of ours."""

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, transport
from pydantic import SecretStr

from contract.broker.app import make_app, queue_names, send_chunk
from contract.errors import MessageError
from contract.records import ChunkMessage
from contract.settings import Settings
from producer.local.embedded import embedded_broker
from tests.unit.conftest import Clock
from worker.app.transport import ByShare, Transport, check_envelope
from worker.jobs.share import ChunkShare

QUEUE = "trace-ocr.recognition"

Change = Callable[[dict[str, Any]], object]


def body(*parts: object) -> str:
    return base64.b64encode(json.dumps(parts).encode()).decode()


BROKEN: dict[str, Change] = {
    "no headers": lambda message: message.pop("headers"),
    "headers of another type": lambda message: message.update(headers=[1]),
    "no task": lambda message: message["headers"].pop("task"),
    "a task of another type": lambda message: message["headers"].update(task=["x"]),
    "a foreign task": lambda message: message["headers"].update(task="celery.chord_unlock"),
    "no id": lambda message: message["headers"].pop("id"),
    "a time to wait for": lambda message: message["headers"].update(eta="2099-01-01T00:00:00"),
    "an expiry": lambda message: message["headers"].update(expires="never"),
    "time limits of another type": lambda message: message["headers"].update(timelimit="x"),
    "no properties": lambda message: message.pop("properties"),
    "no delivery tag": lambda message: message["properties"].pop("delivery_tag"),
    "a delivery tag of another type": lambda message: message["properties"].update(delivery_tag={}),
    "no delivery information": lambda message: message["properties"].pop("delivery_info"),
    "another queue": lambda message: message["properties"]["delivery_info"].update(routing_key="x"),
    "another exchange": lambda message: message["properties"]["delivery_info"].update(exchange="x"),
    "another body encoding": lambda message: message["properties"].update(body_encoding="rot13"),
    "a pickle": lambda message: message.update({"content-type": "application/x-python-serialize"}),
    "another encoding": lambda message: message.update({"content-encoding": "utf-16"}),
    "no body": lambda message: message.pop("body"),
    "a body of another type": lambda message: message.update(body={}),
    "a body that is no base64": lambda message: message.update(body="%"),
    "a body that is no JSON": lambda message: message.update(body=base64.b64encode(b"\xff").decode()),
    "a body that is no triple": lambda message: message.update(body=body([], {})),
    "arguments of another type": lambda message: message.update(body=body({}, {}, {})),
    "a deep body": lambda message: message.update(body=base64.b64encode(b"[" * 60_000).decode()),
    "callbacks": lambda message: message.update(body=body([], {}, {"callbacks": [{"task": "x"}]})),
}

JUNK = (b"\xff\xfe", b"", b"null", b"[]", b"1", b'"x"', b"{}", b"[" * 60_000, b'{"__type__": 1}')
"""Entries without the keys of a message; kombu decodes the last one to a type of its own."""


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with embedded_broker() as url:
        yield url


@pytest.fixture
def client(broker: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker) as client:
        client.flushall()
        yield client


@pytest.fixture
def app(broker: str, settings: Settings) -> Celery:
    return make_app(settings.model_copy(update={"redis_url": SecretStr(broker)}))


@pytest.fixture
def send(app: Celery) -> Callable[[str, int], None]:
    """Publish a chunk's message as the producer does."""
    return lambda job, chunk: send_chunk(app, ChunkMessage(job, "/data/out", chunk), "recognition", QUEUE, 9)


@pytest.fixture
def message(send: Callable[[str, int], None], client: redis.Redis) -> dict[str, Any]:
    """A message as it is in the queue."""
    send("crops-1", 0)
    taken: dict[str, Any] = json.loads(client.lpop(QUEUE))  # type: ignore[arg-type]
    return taken


@pytest.fixture
def connection(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection as a worker's, which has this transport in kombu's place."""
    monkeypatch.setitem(transport._transport_cache, "redis", Transport)
    with app.connection_for_read() as connection:
        yield connection


def delivered(app: Celery, connection: Connection, count: int) -> list[str]:
    """Consume until so many messages were delivered; return their ids."""
    ids: list[str] = []

    def take(message: Any) -> None:
        ids.append(message.headers["id"])
        message.ack()

    queues = [app.amqp.queues[QUEUE](connection.default_channel)]
    with Consumer(connection.default_channel, queues, on_message=take):
        while len(ids) < count:
            connection.drain_events(timeout=20)
    return ids


def test_a_message_of_ours_passes(message: dict[str, Any]) -> None:
    check_envelope(message, QUEUE)


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_what_celery_could_not_run_is_refused(change: Change, message: dict[str, Any]) -> None:
    change(message)

    with pytest.raises(MessageError, match=QUEUE):
        check_envelope(message, QUEUE)


def test_junk_in_a_queue_is_dropped_and_the_messages_behind_it_are_delivered(
    app: Celery,
    connection: Connection,
    client: redis.Redis,
    message: dict[str, Any],
    send: Callable[[str, int], None],
) -> None:
    broken = []
    for change in BROKEN.values():
        broken.append(json.loads(json.dumps(message)))
        change(broken[-1])
    client.lpush(QUEUE, *JUNK, *(json.dumps(one) for one in broken))
    send("crops-1", 7)

    assert delivered(app, connection, 1) == ["crops-1/7"]

    # and nothing of it counts as being in the worker's hands
    assert client.llen(QUEUE) == client.hlen("unacked") == client.zcard("unacked_index") == 0


def test_a_message_on_which_its_receiver_fails_is_dropped(
    app: Celery, connection: Connection, client: redis.Redis, send: Callable[[str, int], None]
) -> None:
    send("crops-1", 0)
    send("crops-1", 1)
    ids: list[str] = []

    def take(message: Any) -> None:
        ids.append(message.headers["id"])
        if len(ids) == 1:
            raise ZeroDivisionError
        message.ack()

    channel = connection.default_channel
    channel.basic_qos(0, 1, False)
    with Consumer(channel, [app.amqp.queues[QUEUE](channel)], on_message=take):
        while len(ids) < 2:
            connection.drain_events(timeout=20)

    assert ids == ["crops-1/0", "crops-1/1"]
    assert client.hlen("unacked") == 0


@pytest.mark.parametrize("record", [b"\xff", b"null", b"[]", b"{}", b"[1, 2, 3]", b"[" * 60_000])
def test_a_damaged_record_of_a_message_in_hand_does_not_keep_the_others_from_coming_back(
    record: bytes, app: Celery, connection: Connection, client: redis.Redis, message: dict[str, Any]
) -> None:
    # given messages of a worker that was killed long ago, one of them damaged
    client.hset("unacked", "damaged", record)
    client.hset("unacked", "intact", json.dumps([message, "", QUEUE]))
    client.zadd("unacked_index", {"damaged": 2, "intact": 1})
    queue = app.amqp.queues[QUEUE](connection.default_channel)

    # when a worker looks for such messages, as it does every ten seconds
    with Consumer(connection.default_channel, [queue], on_message=print):
        connection.transport.cycle.maybe_restore_messages()

    assert delivered(app, connection, 1) == ["crops-1/0"]

    assert client.hlen("unacked") == client.zcard("unacked_index") == 0


@pytest.mark.parametrize("data", [b"\xff", b"1", b"[]", b"{}", b'{"properties": {}}', b"[" * 60_000])
def test_junk_among_remote_commands_is_dropped(
    data: bytes, app: Celery, connection: Connection, client: redis.Redis, send: Callable[[str, int], None]
) -> None:
    mailbox = app.control.mailbox(connection)
    node = mailbox.Node("worker@here", channel=connection.channel())
    with node.Consumer(callbacks=[lambda *_: None]) as consumer:
        consumer.consume()
        while not client.pubsub_numpat():
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.1)
        assert client.publish(f"/0.{mailbox.exchange.name}", data) == 1
        send("crops-1", 3)

        assert delivered(app, connection, 1) == ["crops-1/3"]


def test_a_channel_keeps_its_client_until_redis_is_lost(connection: Connection) -> None:
    channel: Any = connection.channel()
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert second is first

    # when kombu loses Redis, and with it its connections
    channel._disconnect_pools()

    with channel.conn_or_acquire() as third:
        assert third.connection_pool is not first.connection_pool
        assert third.ping()


# whose turn it is


@pytest.fixture
def share(clock: Clock) -> ChunkShare:
    return ChunkShare(0.25, lambda: True, clock)


def test_uploads_are_asked_for_first_until_chunks_are_due(share: ChunkShare, clock: Clock) -> None:
    names = list(queue_names("night"))
    order = ByShare(share, names[0])()
    order.update(names)

    assert order.consume(len(names)) == names
    with share.taken("uploads"):
        clock.now += 1
    assert order.consume(len(names)) == [*names[1:], names[0]]
    with share.taken("chunk"):
        assert order.consume(len(names)) == names


def test_each_channel_has_an_order_of_its_own(share: ChunkShare) -> None:
    by_share = ByShare(share, "night.uploads")
    one, other = by_share(), by_share()

    one.update(["a"])
    other.update(["b"])

    assert (one.consume(1), other.consume(1)) == (["a"], ["b"])
