"""One night: decide what it reads, and record what it leaves."""

import secrets
from collections.abc import Callable, Iterable, Iterator

import msgspec

from contract.errors import JobError, ObjectMissingError, SourceError
from contract.job import Job, Plan
from contract.kinds import KINDS
from contract.records import Item
from contract.storage import join
from contract.workspace import Workspace
from producer.nightly.columns import write_columns
from producer.nightly.continuing import Choices, parameters_of
from producer.nightly.difference import Difference, OutOfOrderError, Rules, checked_order
from producer.nightly.files import Nights, written
from producer.nightly.latest import merge_latest
from producer.nightly.records import Counts, Entry, Night, State
from producer.results.merge import merge

LARGEST_LOSS = 0.5
"""Share of the source's items that may be gone in one night before their lines become tombstones unasked:
more looks like a folder that is not mounted, or a wrong prefix."""


def compare(
    night: str,
    job: Job,
    items: Iterable[Item],
    nights: Nights,
    last: State | None,
    choices: Choices,
    *,
    is_sorted: bool = False,
) -> tuple[Counts, Iterator[tuple[Entry, list[Item]]]]:
    """Return a night's counts, complete once its entries are taken, and these with what is read of each.

    Args:
        items: the source's items with their fingerprints
        is_sorted: they come in the order of their ids; otherwise they are sorted first

    Raises (while iterating):
        JobError: what the last night left is damaged
        SourceError, OutOfOrderError: as `Difference.between`
    """
    rules = Rules(
        night,
        pages=KINDS[job.kind].unit == "page",
        reread=choices.again == "reread",
        adopt=choices.again == "keep" and last is not None and last.changed != job.source.changed,
        attempts=choices.attempts,
        is_sorted=is_sorted,
    )
    found = Difference(rules)
    old = checked_order(nights.entries_of(last), nights.path(last.file)) if last else iter(())
    return found.counts, found.between(old, items)


def begin(
    night: str,
    job: Job,
    listed: Callable[[], Iterable[Item]],
    nights: Nights,
    last: State | None,
    choices: Choices,
) -> Night:
    """Decide what a night reads, and record it; return the record, or the one that was there first.

    Folders and prefixes are listed in order as a rule. What is not is listed again, and sorted.

    Args:
        listed: lists the source; returns its items with their fingerprints

    Raises:
        SourceError: too much of the source is gone, or as `compare`
        JobError: as `compare`
    """
    try:
        return _begin(night, job, listed(), nights, last, choices, is_sorted=True)
    except OutOfOrderError:
        return _begin(night, job, listed(), nights, last, choices, is_sorted=False)


def _begin(
    night: str,
    job: Job,
    items: Iterable[Item],
    nights: Nights,
    last: State | None,
    choices: Choices,
    *,
    is_sorted: bool,
) -> Night:
    mark = secrets.token_hex(4)
    names = f"{night}.items-{mark}.jsonl", f"{night}.entries-{mark}.jsonl"
    counts, found = compare(night, job, items, nights, last, choices, is_sorted=is_sorted)
    with written(nights.store, nights.path(names[0])) as chosen:
        with written(nights.store, nights.path(names[1])) as entries:
            for entry, wanted in found:
                entries.write(entry)
                for item in wanted:
                    chosen.write(item)
        check_loss(counts, last, choices)
    assert job.source.changed is not None
    after = last.night if last else None
    record = Night(
        night, job.source.uri, job.kind, job.source.changed, choices.on_delete, after, *names, counts
    )
    if nights.store.create(nights.path(f"{night}.json"), msgspec.json.format(msgspec.json.encode(record))):
        return record
    for name in names:
        nights.store.delete(nights.path(name))
    return nights.night(night) or record


def check_loss(counts: Counts, last: State | None, choices: Choices) -> None:
    """Raise SourceError if so much is gone that lines must not become tombstones unasked."""
    before = last.present if last else 0
    if choices.on_delete == "keep" or choices.may_shrink or counts.gone <= LARGEST_LOSS * before:
        return
    raise SourceError(
        f"{counts.gone:,} of the {before:,} items of the last night are no longer in the source, which holds "
        f"{counts.listed:,}: is it mounted, and is its name right? Say --allow-shrink if they are really gone"
    )


def job_of(wanted: Job, night: Night, nights: Nights) -> Job:
    """Return a job as it is wanted, which reads what its night has chosen."""
    source = wanted.source.model_copy(
        update={"chosen": nights.path(night.items), "changed": night.changed, "sample": None}
    )
    return wanted.model_copy(update={"source": source})


def complete_empty(job: Job, workspace: Workspace) -> None:
    """Complete a night's job that has nothing to read, without a worker."""
    workspace.release()
    job = workspace.update_job(
        lambda current: (
            current if current.plan else current.model_copy(update={"plan": Plan(chunks=0, items=0)})
        )
    )
    merge(job, workspace)


def conclude(night: Night, job: Job, nights: Nights, last: State | None, check: Callable[[], None]) -> State:
    """Merge a complete night into the latest lines, record what it leaves, and remove what is not needed.

    Doing it again changes nothing.

    Args:
        check: raises if another command has taken over

    Raises:
        JobError: as `merge_latest`
    """
    if last and last.night >= night.night:
        return last
    workspace = nights.workspace(night.night)
    file = f"{night.night}.state.jsonl"
    pages = KINDS[job.kind].unit == "page"
    left = merge_latest(night, nights, workspace, file, check, pages=pages)
    write_columns(job, nights, check)
    summary = workspace.load_summary() or {}
    state = State(
        night=night.night,
        source=night.source,
        kind=night.kind,
        parameters=parameters_of(job),
        models=summary.get("models") or (last.models if last else []),
        changed=night.changed,
        file=file,
        entries=left.entries,
        present=left.present,
        sha256=left.sha256,
    )
    nights.store.replace(nights.path("last.json"), msgspec.json.format(msgspec.json.encode(state)))
    _remove_older(nights, state, last)
    return state


def _remove_older(nights: Nights, state: State, last: State | None) -> None:
    """Remove the files of this night and those before it, but not what the last two nights left."""
    kept = {state.file} | ({last.file} if last else set())
    for name in list(nights.store.names(join(nights.root, "nights"))):
        over = name[:10] <= state.night
        if over and (
            ".items-" in name or ".entries-" in name or (name.endswith(".state.jsonl") and name not in kept)
        ):
            nights.store.delete(nights.path(name))


def is_complete(night: str, nights: Nights) -> bool:
    """Return whether a night's job is complete; its lines need not be in the latest ones yet."""
    workspace = nights.workspace(night)
    try:
        return workspace.is_complete(workspace.require_job().id)
    except (JobError, ObjectMissingError):
        return False
