"""Uploads wait in Redis for a worker, for as long as their sender does; answers find their sender."""

import uuid

import fakeredis
import msgspec
import pytest

from contract.broker.uploads import Answer, Ticket, Upload, Uploads
from tests.unit.conftest import Clock

SENDER = "a" * 32


def upload(data: bytes = b"crop", deadline: float = 1_060.0, sender: str = SENDER) -> Upload:
    return Upload(Ticket(uuid.uuid4().hex, sender, "crop.png", "image/png", deadline, 64), data)


def test_uploads_are_taken_in_the_order_they_came(uploads: Uploads) -> None:
    first, second, third = upload(b"1"), upload(b"2"), upload(b"3")
    uploads.send("recognition", [first, second])
    uploads.send("recognition", [third])

    assert uploads.take("recognition", 2) == [first, second]
    assert uploads.take("recognition", 2) == [third]
    assert uploads.take("recognition", 2) == []


def test_each_kind_has_its_own_list(uploads: Uploads) -> None:
    uploads.send("recognition", [upload()])

    assert uploads.take("ocr", 8) == []
    assert uploads.waiting() == 1


def test_of_a_taken_upload_only_a_mark_is_left_that_expires_as_it_would_have(
    uploads: Uploads, fake_redis: fakeredis.FakeRedis
) -> None:
    sent = upload(deadline=1_030.0)
    uploads.send("recognition", [sent])

    uploads.take("recognition", 8)

    (key,) = fake_redis.keys()
    assert fake_redis.get(key) == ""
    assert 0 < fake_redis.ttl(key) <= 30
    # until its sender has the answer
    uploads.answer(SENDER, [Answer(sent.ticket.id)])
    assert fake_redis.keys() == [f"trace-ocr:answers:{SENDER}"]


def test_an_upload_that_is_withdrawn_before_a_worker_takes_it_is_dropped(uploads: Uploads) -> None:
    withdrawn, waited_for = upload(), upload()
    uploads.send("recognition", [withdrawn, waited_for])

    uploads.withdraw("recognition", [withdrawn.ticket])

    assert uploads.waiting() == 1
    assert uploads.take("recognition", 1) == [waited_for]


def test_a_worker_learns_which_of_its_uploads_are_still_waited_for(uploads: Uploads, clock: Clock) -> None:
    withdrawn, late, waited_for = upload(), upload(deadline=1_010.0), upload()
    uploads.send("recognition", [withdrawn, late, waited_for])
    tickets = [one.ticket for one in uploads.take("recognition", 3)]
    assert uploads.waited_for(tickets) == {ticket.id for ticket in tickets}

    uploads.withdraw("recognition", [withdrawn.ticket])
    clock.now = 1_010.0

    assert uploads.waited_for(tickets) == {waited_for.ticket.id}


def test_what_was_withdrawn_while_a_worker_had_it_does_not_come_back_with_what_it_puts_back(
    uploads: Uploads,
) -> None:
    withdrawn, waited_for = upload(), upload()
    uploads.send("recognition", [withdrawn, waited_for])
    taken = uploads.take("recognition", 2)
    uploads.withdraw("recognition", [withdrawn.ticket])

    uploads.send("recognition", taken, again=True)

    assert uploads.take("recognition", 2) == [waited_for]


def test_an_upload_nobody_waits_for_is_dropped_and_not_counted(uploads: Uploads, clock: Clock) -> None:
    late, live = upload(deadline=1_010.0), upload()
    uploads.send("recognition", [late, live])
    clock.now = 1_020.0

    assert uploads.take("recognition", 1) == [live]


def test_what_waits_expires_with_its_sender(uploads: Uploads, fake_redis: fakeredis.FakeRedis) -> None:
    uploads.send("recognition", [upload(deadline=1_030.0)])

    assert all(0 < fake_redis.ttl(key) <= 30 for key in fake_redis.scan_iter())


def test_an_upload_whose_bytes_are_gone_is_passed_over(
    uploads: Uploads, fake_redis: fakeredis.FakeRedis
) -> None:
    gone, there = upload(), upload()
    uploads.send("recognition", [gone, there])
    fake_redis.delete(f"trace-ocr:upload:{gone.ticket.id}")

    assert uploads.take("recognition", 2) == [there]


@pytest.mark.parametrize("value", ["", "{}", "nonsense", '{"id":"../../x"}', "[" * 10_000])
def test_what_is_no_ticket_is_passed_over(
    value: str, uploads: Uploads, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.rpush("trace-ocr:uploads:recognition", value)
    live = upload()
    uploads.send("recognition", [live])

    assert uploads.take("recognition", 1) == [live]


def test_an_upload_whose_key_is_of_another_type_does_not_lose_the_others(
    uploads: Uploads, fake_redis: fakeredis.FakeRedis
) -> None:
    foreign, there = upload(), upload()
    uploads.send("recognition", [foreign, there])
    fake_redis.delete(f"trace-ocr:upload:{foreign.ticket.id}")
    fake_redis.rpush(f"trace-ocr:upload:{foreign.ticket.id}", "x")

    assert uploads.take("recognition", 2) == [there]


@pytest.mark.parametrize("value", [b"", b"{}", b"nonsense", b'{"id": 1}', b"\xff", b"[" * 60_000])
def test_what_is_no_answer_is_dropped_with_a_log_line(
    value: bytes, uploads: Uploads, fake_redis: fakeredis.FakeRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_redis.rpush(f"trace-ocr:answers:{SENDER}", value)
    uploads.answer(SENDER, [Answer("1")])

    assert uploads.next_answers(SENDER, timeout=0.01) == [Answer("1")]
    assert "entry_dropped" in capsys.readouterr().out


def test_answers_reach_their_sender_alone(uploads: Uploads) -> None:
    answers = [
        Answer("1", (msgspec.Raw(b'{"value":"2016"}'),)),
        Answer("2", error="no image", fault="upload"),
    ]
    uploads.answer(SENDER, answers)

    assert uploads.next_answers("b" * 32, timeout=0.01) == []
    assert uploads.next_answers(SENDER, timeout=0.01) == answers


def test_answers_nobody_asks_for_expire(uploads: Uploads, fake_redis: fakeredis.FakeRedis) -> None:
    uploads.answer(SENDER, [Answer("1")])

    assert 0 < fake_redis.ttl(f"trace-ocr:answers:{SENDER}") <= 60
