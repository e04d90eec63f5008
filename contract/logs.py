"""One line per event: JSON unless on a terminal, with job, chunk and worker; never a credential."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from contract.settings import Settings

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")
_NOISY = ("amqp", "boto3", "botocore", "celery", "kombu", "s3transfer", "smart_open", "urllib3")
_RETOLD = ("celery.app.trace",)
"""Loggers whose warnings repeat, with two tracebacks, what `worker.tasks` has said in one line."""


def configure_logging(settings: "Settings") -> None:
    """Send structlog's and the standard library's events through one formatter to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
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


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Strike the user and password out of every URL in an event's texts."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redacted(value)
    return event


def redacted(text: str) -> str:
    """Return the text with the user and password of each URL struck out."""
    return _CREDENTIALS.sub("***@", text)


def _renderers(settings: "Settings") -> list[structlog.typing.Processor]:
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    if as_console:
        return [redact, structlog.dev.ConsoleRenderer()]
    # The traceback becomes text first, so that it is searched for credentials too.
    return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
