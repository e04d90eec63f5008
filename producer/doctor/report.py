"""All checks in the order in which an operator would make them."""

import os
from collections.abc import Iterator, Sequence

from contract.errors import ExitCode
from producer.doctor.broker import check_broker
from producer.doctor.finding import Finding, Verdict, skipped
from producer.doctor.machine import check_devices
from producer.doctor.models import check_models
from producer.doctor.settings import check_settings
from producer.doctor.storage import check_roots
from producer.session import Session


def findings(session: Session, *, write: bool) -> Iterator[Finding]:
    """Yield what each check finds, as soon as it does.

    Args:
        write: storage may be written to
    """
    settings = session.settings
    yield from check_settings(settings, os.environ)
    if settings.redis_url:
        yield from check_broker(session.client, settings)
    else:
        yield skipped("redis", "TRACE_OCR_REDIS_URL is not set: only `trace-ocr run` works")
    yield from check_roots(session.roots, session.storage, write=write)
    yield from check_models(settings, session.model_store)
    yield from check_devices(settings)


def exit_code(found: Sequence[Finding]) -> ExitCode:
    """Return the exit status of the findings: a warning is no failure."""
    return ExitCode.FAILED if any(one.verdict is Verdict.FAILED for one in found) else ExitCode.OK
