"""Report a failed command: one line on standard error, and an exit status.

Separate from `producer.cli.main`, which imports this module, and the libraries that raise, only on an error.
"""

import redis
import structlog

from contract.errors import ExitCode, TraceOcrError
from contract.redaction import redacted
from producer.cli.terminal import echo


def report_failure(error: Exception) -> ExitCode:
    """Print the error and return the exit status; an unexpected error is logged with its traceback."""
    if isinstance(error, TraceOcrError):
        echo(f"error: {redacted(str(error))}", err=True)
        return error.exit_code
    if isinstance(error, redis.RedisError):
        echo(f"error: Redis (TRACE_OCR_REDIS_URL) cannot be used: {redacted(str(error))}", err=True)
        return ExitCode.FAILED
    # A bug: log the traceback for a report; the status must not be the one of "some items failed".
    structlog.get_logger().error("unexpected_error", exc_info=error)
    return ExitCode.FAILED
