"""Values in Redis that no process of ours wrote: they harm nothing but what they replace."""

from typing import Any

import fakeredis
import pytest
from pydantic import SecretStr

from contract.broker.app import make_redis
from contract.broker.depths import queue_depths, waiting_chunks
from contract.broker.ledger import Ledger
from contract.settings import Settings
from producer.local.embedded import embedded_broker


@pytest.fixture
def planned(ledger: Ledger) -> Ledger:
    """Given a ledger that knows one job, planned to its end."""
    ledger.open("crops-1", "/data/out", "recognition", "/data/crops", 1_000)
    ledger.plan_done("crops-1", 3, 5)
    return ledger


@pytest.mark.parametrize(
    "damage",
    [
        ("hset", "", "status", "dreaming"),
        ("hset", "", "created_at", "yesterday"),
        ("hset", "", "completed", "\xb2"),
        ("hdel", "", "workspace"),
        ("hset", ":running", "0", "x"),
        ("hset", ":running", "x", "1 2 cpu@here"),
        ("lpush", ":rate", "now"),
        ("hset", ":stages", "forward", "long"),
        ("set", "", "a text"),
        ("set", ":running", "a text"),
        ("set", ":errors", "a text"),
    ],
    ids=str,
)
def test_a_job_whose_record_is_damaged_is_not_known_and_harms_no_other(
    damage: tuple[str, ...], planned: Ledger, fake_redis: fakeredis.FakeRedis, capsys: Any
) -> None:
    planned.open("sound", "/data/sound", "recognition", "/data/crops", 1)
    planned.begin("crops-1", 0, "cpu@here")
    command, part, *values = damage
    if command == "set":
        fake_redis.delete("trace-ocr:job:crops-1" + part)
    getattr(fake_redis, command)("trace-ocr:job:crops-1" + part, *values)

    assert planned.load("crops-1") is None

    assert "job_record_damaged" in capsys.readouterr().out
    assert planned.load("sound") is not None
    assert "sound" in planned.statuses()


def test_bytes_that_are_no_text_are_no_error_of_the_client(planned: Ledger) -> None:
    """Against a real Redis: fakes decode in their own way."""
    with embedded_broker() as url:
        client = make_redis(Settings(redis_url=SecretStr(url)))
        ledger = Ledger(client, "trace-ocr")
        client.rpush("trace-ocr:finished", b"\xff", "crops-1")
        client.lpush("trace-ocr.recognition", b"\xff")
        client.hset("unacked", "tag", b"\xff")

        popped = [ledger.next_finished(1), ledger.next_finished(1)]

        assert popped[1] == "crops-1"
        assert ledger.load(str(popped[0])) is None
        assert waiting_chunks(client, "trace-ocr", "crops-1") == set()
        assert max(depth.oldest_seconds for depth in queue_depths(client, "trace-ocr", 1.0)) == 0
