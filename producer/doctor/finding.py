"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum

CLOCK_SECONDS = 5.0
"""Difference of clocks in seconds that is told: leases are renewed every 20 seconds, and last 120."""


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Jobs run, and something about them is slower, less safe or not as the operator may think."""
    FAILED = "failed"
    """Jobs cannot run, or may lose data."""
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One check's result.

    Args:
        check: what was looked at, as "redis: memory policy"
        detail: what was seen
        advice: what to do; empty if there is nothing to do
    """

    check: str
    verdict: Verdict
    detail: str
    advice: str = ""


def good(check: str, detail: str) -> Finding:
    """Return a finding without fault."""
    return Finding(check, Verdict.OK, detail)


def doubtful(check: str, detail: str, advice: str) -> Finding:
    """Return a finding that an operator should know of."""
    return Finding(check, Verdict.WARNING, detail, advice)


def bad(check: str, detail: str, advice: str) -> Finding:
    """Return a finding that keeps jobs from running, or from being safe."""
    return Finding(check, Verdict.FAILED, detail, advice)


def skipped(check: str, detail: str) -> Finding:
    """Return the finding of a check that could not be made here."""
    return Finding(check, Verdict.SKIPPED, detail)
