"""The broker: what a chunk's message looks like, where it waits, and in which order queues are asked."""

import base64
import json
import re
import time
from typing import Any

import fakeredis
import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from contract.broker.app import (
    UPLOADS_TASK,
    make_app,
    make_redis,
    queue_for,
    queue_names,
    send_chunk,
    send_nudge,
)
from contract.broker.depths import (
    PEEK,
    oldest_lease_age,
    queue_depth,
    queue_depths,
    queue_lengths,
    unacked_messages,
    waiting_chunks,
)
from contract.errors import BrokerError
from contract.records import ChunkMessage, Nudge
from contract.redaction import redacted
from contract.settings import Settings
from producer.local.embedded import embedded_broker

QUEUE = "trace-ocr.recognition"


@pytest.fixture
def app(settings: Settings) -> Celery:
    """Given the product's Celery app over kombu's in-memory broker; its messages are those of Redis."""
    made = make_app(settings.model_copy(update={"redis_url": _Secret("redis://broker/0")}))
    made.conf.update(broker_url="memory://", broker_transport_options={})
    return made


class _Secret:
    def __init__(self, url: str) -> None:
        self._url = url

    def get_secret_value(self) -> str:
        return self._url


@pytest.fixture
def sent(app: Celery) -> Any:
    """Send one chunk; return the message as the transport holds it."""

    def send(
        job: str, workspace: str, chunk: int, queue: str = QUEUE, total: int | None = 20
    ) -> dict[str, Any]:
        send_chunk(app, ChunkMessage(job, workspace, chunk), "recognition", queue, total)
        with app.connection_for_read() as connection:
            message: dict[str, Any] = connection.default_channel._get(queue)
        return message

    return send


def with_url(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"redis_url": _Secret(url)})


# the message


def test_a_message_is_a_pointer_to_one_chunk_in_json(app: Celery, sent: Any) -> None:
    message = sent("crops-1", "/data/out", 17)

    body = app.connection_for_read().default_channel.decode_body(
        message["body"], message["properties"]["body_encoding"]
    )
    args, kwargs, _ = json.loads(body)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "trace_ocr.recognition"
    assert (args, kwargs) == ([], {"job": "crops-1", "workspace": "/data/out", "chunk": 17})


def test_a_message_is_named_after_its_chunk(sent: Any) -> None:
    assert sent("crops-1", "/data/out", 17)["headers"]["id"] == "crops-1/17"


@pytest.mark.parametrize(("total", "shown"), [(20, "crops-1 18/20"), (None, "crops-1 18/?")])
def test_a_message_says_in_flower_which_chunk_it_is(total: int | None, shown: str, sent: Any) -> None:
    assert sent("crops-1", "/data/out", 17, total=total)["headers"]["argsrepr"] == shown


def test_a_message_is_a_pointer_of_about_1_kb(sent: Any) -> None:
    """Celery's envelope takes 750 bytes of it; at 1,024 items a chunk that is 1.2 bytes an item."""
    message = sent("invoices-2026-20261122-ab12", "s3://company-ocr-results/invoices/2026-11-22", 999_999)

    assert len(json.dumps(message)) < 1280


def test_a_nudge_goes_to_the_queue_asked_first_as_no_chunk(
    app: Celery, fake_redis: fakeredis.FakeRedis
) -> None:
    send_nudge(app, "trace-ocr", Nudge("recognition", 64))
    with app.connection_for_read() as connection:
        message = connection.default_channel._get("trace-ocr.uploads")

    assert message["headers"]["task"] == UPLOADS_TASK
    _, payload, _ = json.loads(base64.b64decode(message["body"]))
    assert payload == {"kind": "recognition", "batch_size": 64}
    # given that it waits, no job is thought to have a chunk there
    fake_redis.lpush("trace-ocr.uploads", json.dumps(message))
    assert waiting_chunks(fake_redis, "trace-ocr", "uploads") == set()


def test_only_json_is_accepted(app: Celery) -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"


def test_messages_are_acknowledged_late_and_nothing_is_kept_of_their_outcome(app: Celery) -> None:
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.task_ignore_result


def test_a_broker_that_is_away_is_our_error(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(app, "send_task", refuse)

    with pytest.raises(BrokerError, match="Redis cannot be reached"):
        send_chunk(app, ChunkMessage("crops-1", "/data/out", 0), "recognition", QUEUE, 1)


# the queues


def test_urgent_work_is_asked_for_first(settings: Settings) -> None:
    app = make_app(with_url(settings, "redis://broker/0"))

    assert queue_names("night") == (
        "night.uploads",
        "night.urgent",
        "night.recognition",
        "night.ocr",
        "night.detection",
        "night.kie",
        "night.compare",
    )
    assert [queue.name for queue in app.conf.task_queues] == list(queue_names(settings.namespace))
    assert app.conf.broker_transport_options["queue_order_strategy"] == "priority"


@pytest.mark.parametrize(("urgent", "expected"), [(True, "night.urgent"), (False, "night.recognition")])
def test_a_chunk_goes_to_the_queue_of_its_kind_or_the_urgent_one(urgent: bool, expected: str) -> None:
    assert queue_for("night", "recognition", urgent=urgent) == expected


def test_urgent_chunks_are_handed_out_before_those_that_have_waited_longer(settings: Settings) -> None:
    """Against a real broker: the order is kombu's doing, and no fake's."""
    handed_out: list[str] = []
    with embedded_broker() as url:
        app = make_app(with_url(settings, url))
        for job, urgent in (("night", False), ("morning", False), ("now", True)):
            queue = queue_for(settings.namespace, "recognition", urgent=urgent)
            send_chunk(app, ChunkMessage(job, "/data/out", 0), "recognition", queue, 1)
        # as a worker does, whose --queues name them in this order
        app.amqp.queues.select(queue_names(settings.namespace))
        with app.connection_for_read() as connection:
            channel = connection.channel()
            channel.basic_qos(0, 1, False)
            consumer = app.amqp.TaskConsumer(
                channel, on_message=lambda message: (handed_out.append(message.headers["id"]), message.ack())
            )
            with consumer:
                for _ in range(3):
                    connection.drain_events(timeout=30)

    assert handed_out == ["now/0", "night/0", "morning/0"]


def test_a_lease_ends_after_the_visibility_timeout(settings: Settings) -> None:
    app = make_app(with_url(settings.model_copy(update={"visibility_timeout": 77}), "redis://broker/0"))

    assert app.conf.broker_transport_options["visibility_timeout"] == 77


# where it connects


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://broker:6379/3", "redis://broker:6379/3"),
        # By default kombu accepts any certificate.
        ("rediss://broker/0", "rediss://broker/0?ssl_cert_reqs=required"),
        ("rediss://broker/0?ssl_ca_certs=/ca", "rediss://broker/0?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
        ("rediss://broker/0?ssl_cert_reqs=none", "rediss://broker/0?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        # redis-py and kombu name the database of a socket differently; both must talk to the same one.
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
        # kombu wants a socket's password before its path
        ("unix:///run/redis.sock?password=a%2Fb", "redis+socket://:a%2Fb@/run/redis.sock"),
    ],
)
def test_celery_gets_the_url_as_kombu_writes_it(url: str, expected: str, settings: Settings) -> None:
    assert make_app(with_url(settings, url)).conf.broker_url == expected


@pytest.mark.parametrize("url", ["http://broker", "broker:6379", ""])
def test_what_is_no_redis_url_is_an_error_that_names_the_variable(url: str, settings: Settings) -> None:
    with pytest.raises(BrokerError, match="TRACE_OCR_REDIS_URL"):
        make_redis(with_url(settings, url))


@pytest.mark.parametrize("scheme", ["redis+sentinel", "redis+cluster", "rediss+socket", "amqp"])
def test_what_is_not_one_redis_server_is_named(scheme: str, settings: Settings) -> None:
    for make in (make_redis, make_app):
        said = rf"{re.escape(scheme)}://, which is not supported: .* Cluster"
        with pytest.raises(BrokerError, match=said) as raised:
            make(with_url(settings, f"{scheme}://:hunter2@broker:26379"))
        assert "hunter2" not in str(raised.value)


def test_our_own_example_is_not_taken_for_a_password(settings: Settings) -> None:
    with pytest.raises(BrokerError) as raised:
        make_redis(with_url(settings, "redis://broker:port"))

    assert redacted(str(raised.value)) == str(raised.value)


@pytest.mark.parametrize("written", ["CERT_NONE", "none"])
def test_certificates_are_checked_as_celerys_documentation_writes_it_too(
    written: str, settings: Settings
) -> None:
    client = make_redis(with_url(settings, f"rediss://broker/0?ssl_cert_reqs={written}"))

    assert client.connection_pool.connection_kwargs["ssl_cert_reqs"] == "none"


@pytest.mark.parametrize("url", ["redis://broker:6379/3", "unix:///run/redis.sock?db=3"])
def test_the_ledgers_client_reads_text_from_the_database_of_the_url(url: str, settings: Settings) -> None:
    connection = make_redis(with_url(settings, url)).connection_pool.connection_kwargs

    assert connection["decode_responses"] is True
    assert connection["db"] == 3


# what waits


def test_a_chunk_that_is_queued_waits(sent: Any, fake_redis: fakeredis.FakeRedis) -> None:
    fake_redis.lpush(QUEUE, json.dumps(sent("crops-1", "/data/out", 17)))
    fake_redis.lpush("trace-ocr.urgent", json.dumps(sent("crops-1", "/data/out", 18, "trace-ocr.urgent")))

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == {17, 18}


def test_a_chunk_in_a_workers_hands_waits(sent: Any, fake_redis: fakeredis.FakeRedis) -> None:
    message = sent("crops-1", "/data/out", 17)
    tag = message["properties"]["delivery_tag"]
    fake_redis.hset("unacked", tag, json.dumps([message, "", QUEUE]))
    fake_redis.zadd("unacked_index", {tag: 1_000})

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == {17}


@pytest.mark.parametrize(("lease", "waits"), [(1_000, True), (999, False), (None, False)])
def test_a_chunk_whose_lease_nobody_renews_does_not_wait_for_ever(
    lease: int | None, waits: bool, sent: Any, fake_redis: fakeredis.FakeRedis
) -> None:
    message = sent("crops-1", "/data/out", 17)
    fake_redis.hset("unacked", "tag", json.dumps([message, "", QUEUE]))
    if lease:
        fake_redis.zadd("unacked_index", {"tag": lease})

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1", oldest_lease=1_000) == (
        {17} if waits else set()
    )


def test_chunks_of_other_jobs_do_not_wait_for_this_one(sent: Any, fake_redis: fakeredis.FakeRedis) -> None:
    for job in ("crops-2", "crops", "crops-1.1"):
        fake_redis.lpush(QUEUE, json.dumps(sent(job, "/data/out", 3)))

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == set()


def test_a_long_queue_is_seen_whole(fake_redis: fakeredis.FakeRedis) -> None:
    chunks = range(2 * PEEK + 1)
    fake_redis.rpush(QUEUE, *(json.dumps({"headers": {"id": f"crops-1/{chunk}"}}) for chunk in chunks))

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == set(chunks)


@pytest.mark.parametrize(
    "text",
    ['{"headers": {}}', '{"headers": null}', "[]", "1", '{"headers": {"id": "x"}}', "not json", "[" * 9999],
)
def test_messages_that_are_not_ours_are_passed_over(text: str, fake_redis: fakeredis.FakeRedis) -> None:
    fake_redis.lpush(QUEUE, text)
    fake_redis.hset("unacked", "tag", text)

    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == set()


def test_depth_counts_what_is_queued_and_what_is_in_hand(fake_redis: fakeredis.FakeRedis) -> None:
    fake_redis.lpush(QUEUE, "{}", "{}")
    fake_redis.lpush("trace-ocr.urgent", "{}")
    fake_redis.hset("unacked", "tag", "[{}]")

    assert queue_depth(fake_redis, "trace-ocr") == 4


def test_an_empty_redis_has_no_depth(fake_redis: fakeredis.FakeRedis) -> None:
    assert queue_depth(fake_redis, "trace-ocr") == 0
    assert waiting_chunks(fake_redis, "trace-ocr", "crops-1") == set()


def test_messages_are_counted_by_queue_and_in_hand(fake_redis: fakeredis.FakeRedis) -> None:
    fake_redis.lpush(QUEUE, "{}", "{}")
    fake_redis.hset("unacked", "tag", "[{}]")

    lengths = queue_lengths(fake_redis, "trace-ocr")
    assert {queue: length for queue, length in lengths.items() if length} == {QUEUE: 2}
    assert set(lengths) == set(queue_names("trace-ocr"))
    assert unacked_messages(fake_redis) == 1


# how long it waits


def test_a_message_says_when_it_was_sent(sent: Any) -> None:
    before = time.time()

    message = sent("crops-1", "/data/out", 17)

    assert before <= message["headers"]["sent_at"] <= time.time()


def test_so_does_a_nudge(app: Celery) -> None:
    send_nudge(app, "trace-ocr", Nudge("recognition", 8))

    with app.connection_for_read() as connection:
        message: dict[str, Any] = connection.default_channel._get("trace-ocr.uploads")
    assert message["headers"]["sent_at"] <= time.time()


def test_the_oldest_message_is_the_one_that_would_be_taken_next(fake_redis: fakeredis.FakeRedis) -> None:
    # given two queues, pushed as kombu does
    for queue, sent_at in ((QUEUE, 40.0), (QUEUE, 60.0), ("trace-ocr.urgent", 90.0)):
        fake_redis.lpush(queue, json.dumps({"headers": {"sent_at": sent_at}}))

    assert max(depth.oldest_seconds for depth in queue_depths(fake_redis, "trace-ocr", 100.0)) == 60.0


@pytest.mark.parametrize(
    "text",
    [
        '{"headers": {"id": "x"}}',
        '{"headers": {"sent_at": "1"}}',
        '{"headers": {"sent_at": NaN}}',
        '{"headers": {"sent_at": -1e999}}',
        '{"headers": null}',
        "[]",
        "no JSON",
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_message_that_does_not_say_when_it_was_sent_has_no_age(
    text: str, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.lpush(QUEUE, text)

    assert max(depth.oldest_seconds for depth in queue_depths(fake_redis, "trace-ocr", 100.0)) == 0.0


def test_the_oldest_lease_is_the_one_that_was_renewed_least_recently(fake_redis: fakeredis.FakeRedis) -> None:
    fake_redis.zadd("unacked_index", {"a": 95.0, "b": 70.0})

    assert oldest_lease_age(fake_redis, 100.0) == 30.0


def test_nothing_has_no_age_and_clocks_that_differ_make_none_negative(
    fake_redis: fakeredis.FakeRedis,
) -> None:
    assert max(depth.oldest_seconds for depth in queue_depths(fake_redis, "trace-ocr", 100.0)) == 0.0
    assert oldest_lease_age(fake_redis, 100.0) == 0.0

    fake_redis.zadd("unacked_index", {"a": 101.0})
    fake_redis.lpush(QUEUE, json.dumps({"headers": {"sent_at": 101.0}}))

    assert max(depth.oldest_seconds for depth in queue_depths(fake_redis, "trace-ocr", 100.0)) == 0.0
    assert oldest_lease_age(fake_redis, 100.0) == 0.0
