"""Logs: one line per event, JSON unless on a terminal, with job, chunk and worker; never a credential."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from contract.printable import in_texts, printable
from contract.redaction import redacted

if TYPE_CHECKING:
    from contract.settings import Settings

MOST_REPEATS, REPEAT_SECONDS = 10, 10.0
"""Lines of one event that are logged within so many seconds, where repeats are limited."""

MOST_EVENTS = 1_000
"""Events whose repeats are counted at once."""

_NOISY = ("amqp", "boto3", "botocore", "celery", "kombu", "pikepdf", "s3transfer", "smart_open", "urllib3")
_RETOLD = ("celery.app.trace",)
"""Loggers whose warnings repeat, with two tracebacks, what `worker.app.tasks` logs in one line."""


_LONG = ("exception", "stack")
"""Keys of events whose text has several lines."""


def configure_logging(settings: "Settings") -> None:
    """Send structlog's and the standard library's events through one formatter to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        _drop_coloured,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _RETOLD:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    # The error line of a damaged file already says what Pillow warns about.
    warnings.filterwarnings("ignore", module="PIL")


class Repeats(logging.Filter):
    """Drops an event that repeats too often, and says how many were dropped at its next line.

    Args:
        clock: returns seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if record.levelno < logging.WARNING:
            return True
        # structlog's records hold a dictionary; the others a text before its arguments are filled in.
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
        key, now = (record.name, str(event)), self._clock()
        begun, count = self._seen.get(key, (now, 0))
        if now - begun >= REPEAT_SECONDS:
            dropped, begun, count = count - MOST_REPEATS, now, 0
            if dropped > 0:
                record.msg = _with_dropped(record.msg, dropped)
        if len(self._seen) >= MOST_EVENTS:
            self._seen.clear()
        self._seen[key] = begun, count + 1
        return count < MOST_REPEATS


def _with_dropped(message: Any, dropped: int) -> Any:
    if isinstance(message, dict):
        return {**message, "not_logged": dropped}
    return f"{message} ({dropped} more were not logged)"


def limit_repeats(clock: Callable[[], float] = time.monotonic) -> None:
    """Log each warning and error of this process only so often: callers can cause any number of them."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats(clock))


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove the user and password from every URL in an event, at any depth."""
    return {key: in_texts(redacted, value) for key, value in event.items()}


def escape(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show the control characters in an event, at any depth; only tracebacks keep their newlines."""
    return {key: in_texts(partial(printable, lines=key in _LONG), value) for key, value in event.items()}


def _drop_coloured(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop uvicorn's second copy of its messages, which has the codes of colours."""
    event.pop("color_message", None)
    return event


def _renderers(settings: "Settings") -> list[structlog.typing.Processor]:
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    # JSON escapes control characters itself.
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if as_console:
        # Plain: rich's tracebacks show local variables, which may hold credentials.
        console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        renderers = [escape, console]
    # The traceback becomes text first, so that it is searched for credentials and controls too.
    return [structlog.processors.format_exc_info, redact, *renderers]
