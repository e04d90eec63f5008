"""Logs: one line per event, and never a credential in it."""

import json
import logging
import re
import sys
from typing import Any

import pytest
import structlog

from contract.logs import MOST_REPEATS, REPEAT_SECONDS, configure_logging, limit_repeats
from contract.settings import Settings
from tests.unit.conftest import Clock

pytestmark = pytest.mark.usefixtures("restored_logging")

SECRET = "hunter2"
URL = f"redis://user:{SECRET}@broker:6379/0"


@pytest.fixture
def log_as(settings: Settings) -> Any:
    """Configure logging; to be called by the test itself, while its standard error is captured."""
    return lambda form, **others: configure_logging(
        settings.model_copy(update={"log_format": form, **others})
    )


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the events logged since, each from its line."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_of_json_with_what_was_bound(log_as: Any, events: Any) -> None:

    log_as("json")
    structlog.get_logger().bind(job="crops-1", chunk=17).info("chunk_done", worker="gpu0@host")

    (event,) = events()
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "chunk_done",
        "level": "info",
        "job": "crops-1",
        "chunk": 17,
        "worker": "gpu0@host",
    }


def test_the_standard_librarys_events_take_the_same_shape(log_as: Any, events: Any) -> None:

    log_as("json")
    logging.getLogger("somewhere").warning("%s is away", "broker", extra={"tries": 3})

    (event,) = events()
    assert (event["event"], event["level"], event["tries"]) == ("broker is away", "warning", 3)


def test_messages_are_not_repeated_in_colours(log_as: Any, events: Any) -> None:
    """Given an event as uvicorn logs it."""
    log_as("json")
    logging.getLogger("uvicorn.error").warning("started", extra={"color_message": "\x1b[36mstarted"})

    (event,) = events()
    assert event["event"] == "started"
    assert "color_message" not in event


@pytest.mark.parametrize(
    "log",
    [
        lambda: structlog.get_logger().error("redis_away", error=URL),
        lambda: structlog.get_logger().error(f"{URL} is away"),
        lambda: structlog.get_logger().error("redis_away", error=ConnectionError(URL)),
        lambda: structlog.get_logger().error("redis_away", tried=[URL], options={"url": URL}),
        lambda: structlog.get_logger().error("%s is away", URL),
        lambda: logging.getLogger("kombu").error("%s is away", URL),
    ],
)
def test_no_credential_is_logged(log: Any, log_as: Any, events: Any) -> None:

    log_as("json")
    log()

    (event,) = events()
    assert SECRET not in json.dumps(event)
    assert "***@broker" in json.dumps(event)


def fail_with_url() -> None:
    password = SECRET  # noqa: F841 - a traceback that shows local variables would show it
    raise ConnectionError(f"{URL} is away")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("logger", ["structlog", "standard library"])
def test_no_credential_is_logged_with_a_traceback(
    form: str, logger: str, log_as: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log_as(form)

    try:
        fail_with_url()
    except ConnectionError:
        if logger == "structlog":
            structlog.get_logger().exception("unexpected")
        else:
            logging.getLogger("somewhere").exception("unexpected")

    logged = capsys.readouterr().err
    assert "fail_with_url" in logged
    assert SECRET not in logged


def test_a_traceback_is_one_line_too(log_as: Any, events: Any) -> None:

    log_as("json")
    try:
        fail_with_url()
    except ConnectionError:
        structlog.get_logger().exception("unexpected")

    (event,) = events()
    assert "Traceback (most recent call last)" in event["exception"]


def fail_with_controls() -> None:
    raise ValueError("\x1b[2J\x9b31m\u202e")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "logger", [structlog.get_logger(), logging.getLogger("somewhere")], ids=["ours", "others"]
)
def test_no_event_commands_the_terminal(
    form: str, logger: Any, log_as: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log_as(form)
    logger.error("\x1b[2J\nfaked: %s", "\x9b31m", extra={"item": {"ids": ["\u202e\r"]}})
    try:
        fail_with_controls()
    except ValueError:
        logger.exception("failed")

    # The colours that our own renderer sets are not in question.
    logged = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().err)
    assert "fail_with_controls" in logged
    assert not set(logged) & set("\x1b\x9b\u202e\r")
    assert not any(line.startswith("faked") for line in logged.splitlines())


@pytest.mark.parametrize(
    ("level", "expected"), [("debug", ["a", "b", "c"]), ("info", ["b", "c"]), ("warning", ["c"])]
)
def test_what_lies_below_the_level_is_not_logged(
    level: str, expected: list[str], log_as: Any, events: Any
) -> None:
    log_as("json", log_level=level)

    structlog.get_logger().debug("a")
    structlog.get_logger().info("b")
    structlog.get_logger().warning("c")

    assert [event["event"] for event in events()] == expected


def test_libraries_are_heard_only_when_they_warn(log_as: Any, events: Any) -> None:

    log_as("json")
    logging.getLogger("botocore").info("a request")
    logging.getLogger("botocore").warning("a retry")

    assert [event["event"] for event in events()] == ["a retry"]


@pytest.mark.parametrize(("terminal", "is_json"), [(False, True), (True, False)])
def test_auto_is_json_unless_on_a_terminal(
    terminal: bool,
    is_json: bool,
    log_as: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    log_as("auto")

    structlog.get_logger().info("chunk_done")

    assert capsys.readouterr().err.startswith("{") is is_json


def test_an_event_that_repeats_is_logged_so_often_and_then_counted(
    log_as: Any, events: Any, clock: Clock
) -> None:
    log_as("json")
    limit_repeats(clock)

    for number in range(MOST_REPEATS + 5):
        structlog.get_logger().warning("redis_away", number=number)
        logging.getLogger("uvicorn.error").error("%s failed", number)
        structlog.get_logger().info("job_planned")
    logged = events()
    clock.now += REPEAT_SECONDS
    structlog.get_logger().warning("redis_away", number=99)
    logging.getLogger("uvicorn.error").error("%s failed", 99)

    assert [event["number"] for event in logged if event["event"] == "redis_away"] == list(
        range(MOST_REPEATS)
    )
    assert len([event for event in logged if "failed" in event["event"]]) == MOST_REPEATS
    assert len([event for event in logged if event["event"] == "job_planned"]) == MOST_REPEATS + 5
    own, other = events()
    assert (own["number"], own["not_logged"]) == (99, 5)
    assert other["event"] == "99 failed (5 more were not logged)"
