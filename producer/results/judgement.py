"""What a merge says about its job's quality: figures, broken rules, and drift from the nights before."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import msgspec

from contract.checks import Rule
from contract.errors import StorageError
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import UNREADABLE
from contract.storage import join
from contract.workspace import MAX_JSON_BYTES, Workspace
from producer.results.drift import MAX_NIGHTS, Drift, drifted
from producer.results.quality import Quality
from producer.results.sinks.base import Access
from producer.results.totals import Totals

DAYS = 60
"""Days before a night in which nights are looked for: some are left out, or have other parameters."""

READERS = 16
"""Summaries read at once: on S3, latency takes the time."""


def judged(
    job: Job,
    workspace: Workspace,
    totals: Totals,
    quality: Quality,
    summary: dict[str, Any],
    access: Access | None,
) -> dict[str, Any]:
    """Return what the summary says about quality.

    Args:
        quality: the tallies of all lines
        summary: the rest of the summary
    """
    figures = quality.summary()
    tonight = {**summary, "quality": figures}
    found = drifted(tonight, list(_nights_before(job, workspace, access))) if totals.completed else []
    review = {"items": totals.reviewed, "reasons": dict(sorted(totals.reasons.items()))}
    return {
        "quality": figures,
        "review": review if job.checks.review else None,
        "broken_rules": list(_broken(job, totals, quality, found)),
        "drift": [{**one._asdict(), "text": str(one)} for one in found],
    }


def quality_low(summary: dict[str, Any]) -> list[str]:
    """Return why a summary's job is of low quality, in words; older summaries say nothing."""
    return [*summary.get("broken_rules", ()), *(one["text"] for one in summary.get("drift", ()))]


def _broken(job: Job, totals: Totals, quality: Quality, found: list[Drift]) -> Iterator[str]:
    whole, items = quality.total, totals.completed + totals.failed
    counted = {
        "errors": (totals.failed, items),
        "review": (totals.reviewed, totals.completed),
        "empty": (whole.empty, totals.completed),
    }
    for text, rule in zip(job.checks.fail_if, job.checks.rules, strict=True):
        if rule.measure == "drift":
            if found:
                yield f"{text}: {found[0]}"
        elif rule.measure == "confidence":
            mean = whole.mean_confidence
            if mean is not None and mean < rule.limit:
                yield f"{text}: the mean confidence is {mean:.3f}"
        elif _passes(rule, *counted[rule.measure]):
            count, of = counted[rule.measure]
            yield f"{text}: {count:,} of {of:,}, {count / of:.2%}"


def _passes(rule: Rule, count: int, of: int) -> bool:
    return of > 0 and (count / of if rule.relative else count) > rule.limit


def _nights_before(job: Job, workspace: Workspace, access: Access | None) -> Iterator[dict[str, Any]]:
    """Yield the summaries of the nights before, newest first: workspaces next to this one, named by date."""
    root, _, name = workspace.root.rpartition("/")
    try:
        night = date.fromisoformat(name)
    except ValueError:
        return
    if name != night.isoformat() or (
        access and access.settings.allowed_roots and not access.roots.contain(root)
    ):
        return
    days = [(night - timedelta(days)).isoformat() for days in range(1, min(DAYS, night.toordinal() - 1) + 1)]
    left = MAX_NIGHTS
    with ThreadPoolExecutor(READERS, thread_name_prefix="nights") as threads:
        for summary in threads.map(lambda day: _summary_of(join(root, day, "summary.json"), workspace), days):
            if summary and left and _is_comparable(summary, job):
                left -= 1
                yield summary


def _is_comparable(summary: dict[str, Any], job: Job) -> bool:
    """Return whether a night's job had the same parameters, as far as its version knew them."""
    wanted, had = KINDS[job.kind].identity(job.parameters), summary.get("parameters", {})
    return summary.get("kind") == job.kind and all(
        had.get(name, wanted[name]) == wanted[name] for name in wanted
    )


def _summary_of(uri: str, workspace: Workspace) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(workspace.store.read(uri, MAX_JSON_BYTES), type=dict[str, Any])
    except (StorageError, *UNREADABLE):
        # A night that is missing or damaged is one night less to compare with.
        return None
