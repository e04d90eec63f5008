"""The lines of several jobs joined by their items' ids, in bounded memory."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec

from contract.lines import CompareLine
from contract.private_database import private_database
from contract.records import identity_of
from producer.results.evaluation.finished import FinishedJob

BLOCK = 1024
"""Lines stored in one call."""

FAILED, NOT_JOINED = "failed", "not_joined"

SCHEMA = """CREATE TABLE lines (id TEXT, place INTEGER, line BLOB, PRIMARY KEY (id, place)) WITHOUT ROWID"""
FIND = "SELECT line FROM lines WHERE id = ? ORDER BY place"


def join(jobs: Sequence[FinishedJob], add: Callable[[CompareLine, int], None]) -> Counter[str]:
    """Pass on every crop that all jobs have read, with the chunk of the first; count the others.

    The lines of all but the first job are in a temporary database.

    Returns:
        how many crops FAILED in a job, and how many are NOT_JOINED, because a job does not have them
    """
    first, others = jobs[0], jobs[1:]
    counts: Counter[str] = Counter()
    with closing(private_database(SCHEMA)) as database:
        for place, one in enumerate(others):
            _store(one, place, database)
        unseen = database.execute("SELECT count(DISTINCT id) FROM lines").fetchone()[0]
        for merged in first.lines():
            found = [line for (line,) in database.execute(FIND, (identity_of(merged.line),))]
            unseen -= bool(found)
            if len(found) < len(others):
                counts[NOT_JOINED] += 1
            elif merged.failure or None in found:
                counts[FAILED] += 1
            else:
                add(_joined(jobs, [merged.line, *found]), merged.chunk)
    counts[NOT_JOINED] += unseen
    return counts


def _joined(jobs: Sequence[FinishedJob], lines: Sequence[bytes]) -> CompareLine:
    read = [one.line_of(line) for one, line in zip(jobs, lines, strict=True)]
    label = next((one.label for one in read if one.label is not None), None)
    readings = tuple(reading for one in read for reading in one.readings)
    return msgspec.structs.replace(read[0], readings=readings, label=label)


def _store(one: FinishedJob, place: int, database: sqlite3.Connection) -> None:
    rows: list[tuple[str, int, bytes | None]] = []

    def flush() -> None:
        database.executemany("INSERT INTO lines VALUES (?, ?, ?)", rows)
        rows.clear()

    for merged in one.lines():
        rows.append((identity_of(merged.line), place, None if merged.failure else merged.line))
        if len(rows) == BLOCK:
            flush()
    flush()
