"""The upload desk: it withdraws what nobody waits for, bounds each key, and never stops fetching answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import fakeredis
import pytest

from contract.broker.uploads import Answer, Uploads
from contract.kinds import KINDS
from contract.region import Region
from contract.settings import Settings
from producer.api.services import Services
from producer.api.uploads.desk import BusyError, File, SenderGoneError, TooSlowError, UploadDesk
from tests.unit.producer.api.conftest import FakeWorkers

Read = Callable[..., Awaitable[list[Answer]]]

CROP = File("crop.png", "image/png", b"2016")


async def stays() -> None:
    """A sender that stays until its answer."""
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(desk: UploadDesk) -> AsyncIterator[Read]:
    """Serve for a block; yield what reads files for a key."""
    desk.start(asyncio.get_running_loop())

    def read(*files: File, caller: str = "nightly", gone: Any = stays) -> Awaitable[list[Answer]]:
        kind = KINDS["recognition"]
        return desk.read(list(files), kind, desk.settings.parameters_of(kind.name), caller, gone)

    try:
        yield read
    finally:
        desk.close()


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks and threads run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def desk(services: Services) -> UploadDesk:
    return services.desk


@pytest.fixture
def nobody_answers(workers: FakeWorkers) -> None:
    """Given workers that take no upload."""
    workers.send_task = lambda *_, **__: None  # type: ignore[method-assign]


@pytest.mark.usefixtures("nobody_answers")
class TestWithdrawn:
    def assert_withdrawn(self, uploads: Uploads, fake_redis: fakeredis.FakeRedis) -> None:
        assert fake_redis.keys("trace-ocr:upload*") == []
        assert uploads.waiting() == 0

    def test_when_no_worker_answers_in_time(
        self, desk: UploadDesk, uploads: Uploads, fake_redis: fakeredis.FakeRedis
    ) -> None:
        desk.settings = desk.settings.model_copy(update={"api_request_seconds": 0.05})

        async def ask() -> None:
            async with serving(desk) as read:
                with pytest.raises(TooSlowError):
                    await read(CROP, CROP)
                await until(lambda: not fake_redis.keys("trace-ocr:upload:*"))

        asyncio.run(ask())

        self.assert_withdrawn(uploads, fake_redis)

    def test_when_the_sender_is_gone(
        self, desk: UploadDesk, uploads: Uploads, fake_redis: fakeredis.FakeRedis
    ) -> None:
        async def leaves() -> None:
            await until(lambda: fake_redis.keys("trace-ocr:upload:*"))

        async def ask() -> None:
            async with serving(desk) as read:
                with pytest.raises(SenderGoneError):
                    await read(CROP, gone=leaves)
                await until(lambda: not fake_redis.keys("trace-ocr:upload:*"))

        asyncio.run(ask())

        self.assert_withdrawn(uploads, fake_redis)


@pytest.mark.usefixtures("nobody_answers")
class TestShare:
    """Of four places in the queue and a hundred bytes, a key may take half, once it waits for something."""

    @pytest.fixture
    def api_settings(self, api_settings: Settings) -> Settings:
        update = {"api_key_share": 0.5, "api_queue_bytes": 100, "api_queue_limit": 4}
        return api_settings.model_copy(update=update)

    @pytest.fixture
    def while_waiting(self, desk: UploadDesk) -> Callable[..., None]:
        """Send a request, and another one before it has its answer."""

        def run(first: list[File], second: list[File], caller: str, *, refused: bool) -> None:
            async def ask() -> None:
                async with serving(desk) as read:
                    waiting = asyncio.ensure_future(read(*first))
                    await until(lambda: desk.uploads.waiting() == len(first))
                    more = asyncio.ensure_future(read(*second, caller=caller))
                    await until(lambda: more.done() or desk.uploads.waiting() == len(first) + len(second))
                    assert more.done() is refused
                    if refused:
                        assert isinstance(more.exception(), BusyError)
                    for task in (waiting, more):
                        task.cancel()
                    await asyncio.gather(waiting, more, return_exceptions=True)

            asyncio.run(ask())

        return run

    def test_a_key_beyond_its_share_is_refused(self, while_waiting: Callable[..., None]) -> None:
        while_waiting([CROP, CROP], [CROP], "nightly", refused=True)

    def test_within_it_it_is_served(self, while_waiting: Callable[..., None]) -> None:
        while_waiting([CROP], [CROP], "nightly", refused=False)

    def test_its_bytes_count_as_well(self, while_waiting: Callable[..., None]) -> None:
        large = File("large.png", "image/png", b"x" * 30)

        while_waiting([large], [large], "nightly", refused=True)

    def test_its_regions_count_as_files(self, while_waiting: Callable[..., None]) -> None:
        page = replace(CROP, regions=(Region((0, 0, 9, 9)),) * 2)

        while_waiting([page], [CROP], "nightly", refused=True)

    def test_another_key_is_served(self, while_waiting: Callable[..., None]) -> None:
        while_waiting([CROP, CROP], [CROP, CROP], "daily", refused=False)

    def test_a_single_request_may_be_larger_than_the_share(self, while_waiting: Callable[..., None]) -> None:
        while_waiting([CROP, CROP, CROP], [CROP], "daily", refused=False)

    def test_without_keys_only_the_queue_is_a_bound(self, while_waiting: Callable[..., None]) -> None:
        while_waiting([CROP, CROP], [CROP, CROP], "", refused=False)

    def test_what_has_ended_no_longer_counts(self, desk: UploadDesk) -> None:
        desk.settings = desk.settings.model_copy(update={"api_request_seconds": 0.01})

        async def ask() -> None:
            async with serving(desk) as read:
                for _ in range(3):
                    with pytest.raises(TooSlowError):
                        await read(CROP, CROP)
                    await until(lambda: desk.uploads.waiting() == 0)

        asyncio.run(ask())


@pytest.mark.parametrize("junk", [b"", b"nonsense", b"{}", b"\xff", b"[" * 60_000])
def test_a_malformed_answer_does_not_end_the_thread_that_fetches_answers(
    junk: bytes, desk: UploadDesk, fake_redis: fakeredis.FakeRedis
) -> None:
    async def ask() -> list[Answer]:
        async with serving(desk) as read:
            fake_redis.rpush(f"trace-ocr:answers:{desk.sender}", junk)
            answers = await read(CROP)
            assert desk.fetches_answers()
            return answers

    (answer,) = asyncio.run(ask())

    assert b"2016" in bytes(answer.lines[0])


def test_nor_does_any_other_error(desk: UploadDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.api.uploads.desk.PAUSE_SECONDS", 0.01)
    fetch, failed = desk.uploads.next_answers, []

    def fails_once(sender: str, timeout: float) -> list[Answer]:
        if not failed:
            failed.append(sender)
            raise ZeroDivisionError
        return fetch(sender, timeout)

    monkeypatch.setattr(desk.uploads, "next_answers", fails_once)

    async def ask() -> list[Answer]:
        async with serving(desk) as read:
            await until(lambda: failed)
            return await read(CROP)

    assert len(asyncio.run(ask())) == 1
