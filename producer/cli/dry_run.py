"""`--dry-run`: what a job would be, before it is started. Nothing is written."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.table import Table

from contract.counting import counted
from contract.errors import ExitCode, UsageError
from contract.estimate import Estimate
from contract.job import Job
from contract.settings import Settings
from contract.workspace import Workspace
from producer.cli.progress import progress_shown
from producer.cli.read import print_json
from producer.cli.render import duration, make_console
from producer.nightly.records import Counts
from producer.planning.estimate import Extent, estimate, extent_of
from producer.results.rates import Rate, nearby, past_rate
from producer.session import Session
from producer.sources.base import Listing

F = Callable[..., Any]


@dataclass(frozen=True)
class DryRun:
    """The flags of a dry run."""

    probe: int | None
    price: float | None


def options(function: F) -> F:
    """Give a command the flags of a dry run, and `dry_run` as an argument: None unless it is asked for."""

    def decide(context: click.Context, _: click.Parameter, given: bool) -> DryRun | None:
        items, price = context.params.pop("probe", None), context.params.pop("price", None)
        if not given and (items or price):
            raise click.UsageError("--probe and --price-per-device-hour go with --dry-run")
        return DryRun(items, price) if given else None

    for option in (
        click.option(
            "--dry-run", is_flag=True, callback=decide, help="Say what would be read, and how long it takes."
        ),
        click.option(
            "--probe",
            type=click.IntRange(1, 100_000),
            is_eager=True,
            metavar="N",
            help="With --dry-run: read N items here, to know the rate.",
        ),
        click.option(
            "--price-per-device-hour",
            "price",
            type=click.FloatRange(min=0),
            is_eager=True,
            metavar="NUMBER",
            help="With --dry-run: say what it costs.",
        ),
    ):
        function = option(function)
    return function


def show_estimate(
    asked: DryRun,
    job: Job,
    workspace: Workspace,
    session: Session,
    *,
    json_output: bool,
    listing: Listing | None = None,
    counts: Counts | None = None,
) -> ExitCode:
    """Print the estimate of a job.

    Args:
        listing: its items, with fingerprints; by default those of its source
        counts: what a night finds, complete once the items are listed
    """
    if listing is None:
        measured = job.source.model_copy(update={"changed": job.source.changed or "mtime+size"})
        listing = session.listing(job.model_copy(update={"source": measured}), sys.stdin.buffer)
    extent = extent_of(job, listing, asked.probe or 0)
    rate = _rate(asked, job, workspace, session, extent)
    left = None if job.deadline is None else job.deadline - time.time()
    found = estimate(job, extent, rate, _devices(session.settings), left, asked.price)
    if json_output and counts:
        print_json({**asdict(found), "counts": counts})
    elif json_output:
        print_json(found)
    else:
        _print(found)
    return ExitCode.OK


def _rate(asked: DryRun, job: Job, workspace: Workspace, session: Session, extent: Extent) -> Rate | None:
    if not asked.probe:
        return past_rate(job, nearby(workspace, session.index, session.storage))
    if not extent.some:
        raise UsageError("--probe: the source has no items to read")
    # Imported here: a job that is started need not wait for it.
    from producer.local.probe import probe

    with progress_shown(make_console(stderr=True)) as shown:
        return probe(job, extent.some, session.settings, dict(os.environ), shown)


def _devices(settings: Settings) -> int | None:
    """Return the number of devices that the settings name; None if the machine decides."""
    named = settings.devices.split(",")
    return None if settings.devices == "auto" else len(named)


def _print(found: Estimate) -> None:
    table = Table(box=None, show_header=False)
    what = "items" if found.pages is None else "pages"
    more = "" if found.complete else " or more"
    table.add_row(what, f"{found.items:,}{more}, in {counted(found.files, 'file')} of {found.bytes:,} bytes")
    if found.passed_over:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.passed_over.items()))
        table.add_row("passed over", reasons)
    if found.reused:
        table.add_row("reused", f"{counted(found.reused, 'line')} of an earlier job")
    table.add_row("chunks", f"{found.chunks:,}; {counted(found.gets, 'GET request')} for objects")
    if found.duration_seconds is None or found.devices is None:
        table.add_row(
            "time", "unknown: the folder has no finished job like this one; --probe 256 measures the rate"
        )
    else:
        table.add_row("time", f"{duration(found.duration_seconds)} with {counted(found.devices, 'device')}")
        table.add_row(
            "rate", f"{found.items_per_second_per_device:,} items/s and device: {found.rate_source}"
        )
    if found.deadline_seconds is not None:
        number = found.devices_needed
        needed = counted(number, "device") if number else "unknown, or already missed"
        table.add_row("for the deadline", f"{needed} ({duration(max(0, found.deadline_seconds))} left)")
    if found.cost is not None:
        table.add_row("cost", f"{found.cost:,.2f} ({found.device_hours:,} device hours)")
    make_console().print(table)
