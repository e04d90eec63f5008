"""How a command that failed ends: one line on standard error, and an exit status.

Apart from `producer.cli.main`, which must not import the libraries whose errors these are before one occurs.
"""

import click
import redis
import structlog

from contract.errors import ExitCode, TraceOcrError
from contract.redaction import redacted


def report_failure(error: Exception) -> ExitCode:
    """Say what went wrong, and return the exit status; a bug of ours is logged with its traceback."""
    if isinstance(error, TraceOcrError):
        click.echo(f"error: {redacted(str(error))}", err=True)
        return error.exit_code
    if isinstance(error, redis.RedisError):
        click.echo(f"error: Redis (TRACE_OCR_REDIS_URL) cannot be used: {redacted(str(error))}", err=True)
        return ExitCode.FAILED
    # A bug of ours: the traceback is for the report, the status must not read as "some items failed".
    structlog.get_logger().error("unexpected_error", exc_info=error)
    return ExitCode.FAILED
