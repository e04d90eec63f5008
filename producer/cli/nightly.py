"""`trace-ocr nightly`: read what is new or changed in a source since the last complete night."""

import datetime
import signal
import sys
from dataclasses import dataclass, replace
from typing import Any

import click

from contract.errors import ExitCode, UsageError
from contract.job import Job
from contract.settings import Settings
from contract.source import STANDARD_INPUT
from contract.storage import absolute, join
from producer.cli import dry_run, job_arguments, new_job, options
from producer.cli.dry_run import DryRun, show_estimate
from producer.cli.job_arguments import Asked
from producer.cli.night_report import counts_in_words, report_night
from producer.cli.read import wait_for
from producer.cli.run import quieted, read_here
from producer.cli.terminal import echo
from producer.nightly.continuing import ATTEMPTS, Choices, check_continues, last_state, unfinished
from producer.nightly.dates import night_of
from producer.nightly.files import Nights
from producer.nightly.lease import Lease
from producer.nightly.night import begin, check_loss, compare, complete_empty, conclude, is_complete, job_of
from producer.nightly.records import Night, State
from producer.planning.submit import settle_job, submit_job
from producer.session import Session
from producer.sources.base import Listing
from producer.sources.fingerprints import default_changed

JOB = tuple(name for name in options.JOB if name not in ("sample", "seed"))
"""Settings of a night's job: one of some items would take the others for gone."""


@options.command()
@click.option("--date", "night", help="The night, as YYYY-MM-DD; today by default.", metavar="DATE")
@click.option(
    "--on-delete",
    type=click.Choice(("keep", "tombstone")),
    default="keep",
    show_default=True,
    help="What becomes of the latest lines of items that are no longer in the source.",
)
@click.option("--allow-shrink", is_flag=True, help="With tombstone: accept that most of the source is gone.")
@click.option("--reread", "again", flag_value="reread", help="Read everything again.")
@click.option(
    "--keep", "again", flag_value="keep", help="Keep what other parameters or models have read before."
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 1000),
    default=ATTEMPTS,
    show_default=True,
    help="Nights in which an item that fails is read.",
    metavar="N",
)
@click.option("--here", is_flag=True, help="Read on this machine, as `run`, although a Redis is set.")
@options.as_json
@dry_run.options
@options.with_settings(
    *JOB,
    *options.TURN,
    *options.MODELS,
    *options.IMAGES,
    *options.WATCHING,
    *options.DELIVERY,
    *options.SENDING,
    "reconcile_seconds",
)
@job_arguments.asking(
    "sources",
    "output",
    "kind",
    "regions",
    "include",
    "exclude",
    "changed",
    "reuse",
    "urgent",
    output="Folder or remote prefix of all nights; each gets a workspace below.",
    changed="What tells that a file has changed; default: etag on S3, else mtime+size. sha256 reads each "
    "file.",
)
def nightly(
    settings: Settings,
    asked: Asked,
    night: str | None,
    json_output: bool,
    here: bool,
    dry_run: DryRun | None,
    **choices: Any,
) -> ExitCode:
    """Read what is new or changed in SOURCE since the last complete night; exit when the night is complete.

    The night's job is in OUTPUT/DATE; the newest line of every item is in OUTPUT/latest.jsonl. The same date
    is the same job, so repeating the command continues it, or does nothing. If TRACE_OCR_REDIS_URL is set,
    the running workers read; otherwise this machine does, as `run`.
    """
    allow_shrink = choices.pop("allow_shrink")
    command = _Command(
        # Of one of some items, the others would be taken for gone.
        Session(quieted(settings.model_copy(update={"sample": None}))),
        replace(asked, changed=asked.changed or default_changed(asked.sources)),
        Choices(**choices, may_shrink=allow_shrink),
        here=here or not settings.redis_url,
    )
    night = night_of(night, settings.timezone, datetime.datetime.now(datetime.UTC))
    if dry_run:
        return command.show(dry_run, night, json_output=json_output)
    return command.run(night, json_output=json_output)


@dataclass(frozen=True)
class _Command:
    session: Session
    asked: Asked
    choices: Choices
    here: bool

    def run(self, night: str, *, json_output: bool) -> ExitCode:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        nights = self._nights()
        wanted = self._wanted(join(nights.root, night))

        def waiting(holder: str) -> None:
            echo(f"waiting for {holder}, which is at work on these nights", err=True)

        with Lease(nights.path("lease.json"), nights.store, waiting) as lease:
            last = last_state(nights, self.choices)
            if last is None or night > last.night:
                check_continues(wanted, self._weights(wanted), last, self.choices)
                while earlier := unfinished(nights, last, night):
                    echo(f"night {earlier.night} is not complete: it is continued first", err=True)
                    job = nights.workspace(earlier.night).require_job()
                    last = self._completed(earlier, job, nights, last, lease)
                self._completed(*self._begun(night, wanted, nights, last), nights, last, lease)
        return report_night(night, nights, json_output=json_output)

    def show(self, dry_run: DryRun, night: str, *, json_output: bool) -> ExitCode:
        """Print what a night would read; write nothing."""
        session, nights = self.session, self._nights()
        wanted, workspace = self._wanted(join(nights.root, night)), nights.workspace(night)
        last = last_state(nights, self.choices)
        if last and night <= last.night:
            return report_night(night, nights, json_output=json_output)
        check_continues(wanted, self._weights(wanted), last, self.choices)
        if earlier := unfinished(nights, last, night):
            echo(f"night {earlier.night} is not complete: it would be continued first", err=True)
        begun = nights.night(night)
        if begun:
            wanted, counts = job_of(wanted, begun, nights), begun.counts
            listing = session.listing(wanted, sys.stdin.buffer)
        else:
            files = session.files(wanted, sys.stdin.buffer)
            counts, found = compare(night, wanted, files, nights, last, self.choices)
            items = (item for _, chosen in found for item in chosen)
            listing = session.planned(wanted, Listing(items, files.passed_over))
        shown = show_estimate(
            dry_run, wanted, workspace, session, json_output=json_output, listing=listing, counts=counts
        )
        check_loss(counts, last, self.choices)
        if not json_output:
            echo(counts_in_words(counts), err=True)
        return shown

    def _nights(self) -> Nights:
        if STANDARD_INPUT in self.asked.sources:
            raise UsageError("standard input cannot be compared with the night before: give a file")
        root = absolute(self.asked.output)
        return Nights(root, self.session.storage.at(root))

    def _begun(self, night: str, wanted: Job, nights: Nights, last: State | None) -> tuple[Night, Job]:
        found = nights.night(night)
        if found is None:
            found = begin(
                night,
                wanted,
                lambda: self.session.files(wanted, sys.stdin.buffer),
                nights,
                last,
                self.choices,
            )
        return found, self._settled(found, wanted, nights)

    def _completed(self, night: Night, job: Job, nights: Nights, last: State | None, lease: Lease) -> State:
        if not is_complete(night.night, nights):
            self._read(night, job, nights)
        return conclude(night, job, nights, last, lease.check)

    def _wanted(self, workspace: str) -> Job:
        return new_job.described(self.session, replace(self.asked, output=workspace))[0]

    def _weights(self, job: Job) -> list[tuple[str, str]]:
        """Return the models of the model store that a job wants, each with its checkpoint's SHA-256."""
        store = self.session.model_store
        wanted = job.parameters.wanted_models() if store else ()
        cards = [(model.name, store.card(model.name)) for model in wanted] if store else []
        return [(name, card.sha256) for name, card in cards if card]

    def _read(self, night: Night, job: Job, nights: Nights) -> None:
        """Read the job of a night to its end."""
        session, workspace = self.session, nights.workspace(night.night)
        session.index.note(job, workspace)
        if not night.counts.to_read:
            complete_empty(job, workspace)
        elif self.here:
            read_here(session.settings, job, workspace)
        else:
            listing = session.listing(job, sys.stdin.buffer)
            submit_job(job, workspace, listing, session.ledger, session.dispatcher)
            wait_for(session, workspace.root)

    def _settled(self, night: Night, wanted: Job, nights: Nights) -> Job:
        ids = self.session.ids if night.counts.to_read and not self.here else None
        workspace = nights.workspace(night.night)
        return settle_job(job_of(wanted, night, nights), workspace, ids, self.session.roots)
