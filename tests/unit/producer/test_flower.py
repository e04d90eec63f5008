"""Flower's options: closed to strangers, bounded in memory, without a way around the ledger."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flower.options
import pytest
from click.testing import CliRunner
from flower.views.tasks import TASK_COLUMNS

from contract.broker.ledger import Ledger
from contract.errors import BrokerError, SettingsError
from contract.settings import Settings, load_settings
from producer.cli.flower import flower as command
from producer.flower import COLUMNS, ChunkTotals, flower_options, is_loopback, make_flower, with_place

URL = "redis://:broker-secret@127.0.0.1:1/0"


@pytest.fixture
def event_loop() -> Iterator[None]:
    """Given the loop and the process-wide options that Flower's application uses."""
    loop, before = asyncio.new_event_loop(), flower.options.default_options.as_dict()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
    for name, value in before.items():
        if name != "help":
            setattr(flower.options.default_options, name, value)


def with_password(settings: Settings, password: str | None, **changes: Any) -> Settings:
    return load_settings(
        allowed_roots=settings.allowed_roots, redis_url=URL, flower_basic_auth=password, **changes
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "", "::", "10.0.0.7", "flower.example", "127.0.0.1.example"])
def test_without_a_password_it_refuses_an_address_that_others_reach(settings: Settings, address: str) -> None:
    with pytest.raises(SettingsError, match="TRACE_OCR_FLOWER_BASIC_AUTH"):
        flower_options(with_password(settings, None, flower_address=address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_a_password_it_may_serve_this_machine(settings: Settings, address: str) -> None:
    assert is_loopback(address)
    assert flower_options(with_password(settings, None, flower_address=address))["basic_auth"] == []


def test_with_a_password_it_may_serve_everyone(settings: Settings) -> None:
    options = flower_options(with_password(settings, "ada:one, bob:t:wo", flower_address="0.0.0.0"))

    assert options["address"] == "0.0.0.0"
    assert options["basic_auth"] == ["ada:one", "bob:t:wo"]


@pytest.mark.parametrize("value", ["hunter2", "ada:", ":hunter2", "ada:hunter2,", "ada:hünter2", ","])
def test_a_malformed_password_is_refused_without_being_repeated(settings: Settings, value: str) -> None:
    with pytest.raises(SettingsError, match="user:password") as refused:
        flower_options(with_password(settings, value))

    assert "nter2" not in str(refused.value)


@pytest.mark.parametrize("database", ["missing/flower.db", "."])
def test_a_database_that_cannot_be_written_is_refused_before_anything_starts(
    settings: Settings, database: str
) -> None:
    with pytest.raises(SettingsError, match="TRACE_OCR_FLOWER_DATABASE"):
        flower_options(with_password(settings, "ada:one", flower_database=database))


def test_its_view_is_kept_bounded_and_without_operations(settings: Settings, tmp_path: Path) -> None:
    options = flower_options(with_password(settings, "ada:one"))

    assert options["db"] == str(tmp_path / "flower.db")
    assert options["persistent"] is True
    assert options["state_save_interval"]
    assert options["read_only"] is True
    assert options["max_tasks"] == 10_000


def test_every_option_and_column_is_one_that_flower_has(settings: Settings) -> None:
    options = flower_options(with_password(settings, "ada:one"))

    assert set(options) <= set(flower.options.default_options.as_dict())
    assert set(COLUMNS.split(",")) <= set(TASK_COLUMNS)


@pytest.mark.usefixtures("event_loop")
def test_credentials_are_removed_from_a_workers_report(settings: Settings) -> None:
    application = make_flower(with_password(settings, "ada:one"))

    application.inspector.workers["cpu@a"]["stats"] = {
        "broker": {"hostname": "redis+socket:///run/redis.sock?virtual_host=0&password=broker-secret"},
        "pool": {"max-concurrency": 2},
    }

    assert "broker-secret" not in str(application.workers)
    assert application.workers["cpu@a"]["stats"]["pool"] == {"max-concurrency": 2}
    assert "broker-secret" not in application.broker_uri


@pytest.mark.usefixtures("event_loop")
def test_a_broker_that_is_not_set_is_named(settings: Settings) -> None:
    with pytest.raises(BrokerError, match="TRACE_OCR_REDIS_URL"):
        make_flower(Settings(flower_basic_auth="ada:one"))


@pytest.mark.usefixtures("settings")
def test_the_command_takes_no_password_as_an_argument() -> None:
    flags = {flag for parameter in command.params for flag in parameter.opts}

    answer = CliRunner().invoke(command, ["--flower-basic-auth", "ada:one"])

    assert {"--flower-address", "--flower-port", "--flower-database"} <= flags
    assert answer.exit_code == 2
    assert "No such option" in answer.output


def test_a_chunk_sent_before_its_job_was_planned_gets_its_place_once_that_is_known(
    ledger: Ledger,
) -> None:
    totals = ChunkTotals(ledger)
    received = {"type": "task-received", "uuid": "crops-1/0", "args": "crops-1 1/?"}
    succeeded = {"type": "task-succeeded", "uuid": "crops-1/0", "result": "{'ok': 2}"}

    ledger.open("crops-1", "/out", "recognition", "/crops", 1_000)
    before = with_place(received, totals.of)
    ledger.plan_done("crops-1", 245, 490)

    assert before["args"] == "crops-1 1/?"
    assert with_place(succeeded, totals.of) == {**succeeded, "args": "crops-1 1/245"}


def test_a_round_of_retries_is_counted_among_the_chunks(ledger: Ledger) -> None:
    totals = ChunkTotals(ledger)
    ledger.open("crops-1", "/out", "recognition", "/crops", 1_000)
    ledger.plan_done("crops-1", 2, 4)
    assert totals.of("crops-1", 1) == 2

    ledger.plan_done("crops-1", 3, 4)

    assert totals.of("crops-1", 3) == 3


@pytest.mark.parametrize(
    "event",
    [
        {"type": "worker-heartbeat", "hostname": "cpu@a"},
        {"type": "task-received", "uuid": "uploads-0a1b2c3d", "args": "uploads crnn_vgg16_bn"},
        {"type": "task-received", "uuid": "unknown/7", "args": "unknown 8/?"},
    ],
)
def test_an_event_of_no_known_jobs_chunk_is_unchanged(ledger: Ledger, event: dict[str, str]) -> None:
    assert with_place(event, ChunkTotals(ledger).of) == event
