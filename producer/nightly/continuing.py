"""Whether a night continues those before it: what the last one left, and what has changed since."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from contract.errors import JobError, UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.states import State as JobState
from producer.nightly.files import Nights
from producer.nightly.records import Night, OnDelete, State

ATTEMPTS = 3
"""Nights in which an item that fails is read, by default: storage that is away for a night or two costs
nothing, and a file that is no image is not fetched for ever."""


@dataclass(frozen=True)
class Choices:
    """What the caller decides about a night.

    Args:
        on_delete: what happens to the lines of items that are no longer in the source
        again: if parameters have changed: "reread" reads everything, "keep" only what is new or changed
        attempts: nights in which an item that fails is read
        may_shrink: more than LARGEST_LOSS of the items may become tombstones
    """

    on_delete: OnDelete = "keep"
    again: Literal["reread", "keep"] | None = None
    attempts: int = ATTEMPTS
    may_shrink: bool = False


def last_state(nights: Nights, choices: Choices) -> State | None:
    """Return what the last complete night left; None if there is none, or it is damaged and not needed.

    Raises:
        JobError: it is damaged, and not everything is to be read again
    """
    try:
        last = nights.last()
        if last and choices.again == "reread":
            for _ in nights.entries_of(last):
                pass
    except JobError as error:
        if choices.again == "reread":
            return None
        raise JobError(f"{error}. Or read everything again: --reread") from error
    return last


def check_continues(job: Job, models: list[tuple[str, str]], last: State | None, choices: Choices) -> None:
    """Raise UsageError if a night's job does not continue the nights before it, and nobody said what to do.

    Args:
        job: the job, as it is wanted
        models: names and SHA-256 of its models, as far as they are known before they are loaded
        last: what the last complete night left
    """
    if last is None:
        return
    if (last.source, last.kind) != (job.source.uri, job.kind):
        raise UsageError(
            f"these nights are of {last.source} ({last.kind}), not of {job.source.uri} ({job.kind}): use "
            "another folder for --output"
        )
    changes = _changes(job, models, last)
    if changes and choices.again is None:
        raise UsageError(
            f"since night {last.night}, {'; '.join(changes)}: say --reread to read everything again, or "
            "--keep to read only what is new or changed"
        )


def _changes(job: Job, models: list[tuple[str, str]], last: State) -> list[str]:
    wanted, given = parameters_of(job), last.parameters
    found = [
        f"{name} has changed from {given.get(name)!r} to {wanted.get(name)!r}"
        for name in sorted(wanted.keys() | given.keys())
        if wanted.get(name) != given.get(name)
    ]
    if last.changed != job.source.changed:
        found.append(f"--changed is {job.source.changed} and was {last.changed}")
    known = {model.get("weights_sha256") for model in last.models}
    return found + [
        f"the weights of {name} have changed" for name, sha256 in models if known and sha256 not in known
    ]


def parameters_of(job: Job) -> dict[str, Any]:
    """Return what decides the content of a job's lines, and which files it reads, as JSON holds it."""
    identity = KINDS[job.kind].identity(job.parameters)
    selection = job.source.selection
    if selection:
        identity = {**identity, "include": selection.include, "exclude": selection.exclude}
    return msgspec.json.decode(msgspec.json.encode(identity), type=dict[str, Any])


def unfinished(nights: Nights, last: State | None, tonight: str) -> Night | None:
    """Return the earliest night before tonight that has begun and not ended, and has a job to continue.

    One that was cancelled is left as it is: the next one reads its items.
    """
    for name in nights.begun():
        if name >= tonight or (last and name <= last.night):
            continue
        workspace = nights.workspace(name)
        halt = workspace.load_halt()
        if workspace.load_job() and not (halt and halt.status is JobState.CANCELLED):
            return nights.night(name)
    return None
