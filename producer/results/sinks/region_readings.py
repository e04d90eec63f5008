"""What a job has read in each region, on disk: asked for by the ids of the items."""

from typing import NamedTuple

import msgspec

from contract.lines import RecognitionLine
from contract.private_database import private_database
from contract.region import Region
from producer.regions.base import RegionText
from producer.results.sinks.base import MergedLine, SinkContext

BATCH = 1_000
"""Readings that are noted in one call."""


class Reading(NamedTuple):
    """A region as it was planned, as JSON, and what was read in it."""

    region: str
    text: RegionText


class Readings:
    """What was read in each region, by the ids of the items; kept on disk."""

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._lines = msgspec.json.Decoder(RecognitionLine)
        self._database = private_database(
            "CREATE TABLE read (id TEXT, region TEXT, value TEXT, confidence REAL)"
        )
        self._batch: list[tuple[str, str, str, float]] = []
        self.count = 0

    def close(self) -> None:
        """Remove the readings."""
        self._database.close()

    def add(self, merged: MergedLine) -> None:
        """Note a line."""
        if merged.failure:
            return
        line = self._lines.decode(merged.line)
        region = text_of(self._context.item(merged).region)
        self._batch.append((line.id, region, line.value, line.confidence))
        self.count += 1
        if len(self._batch) >= BATCH:
            self._flush()

    def end(self) -> None:
        """Make the readings ready to be asked for: an index at the end costs less than one that grows."""
        self._flush()
        self._database.execute("CREATE INDEX by_id ON read (id)")

    def of(self, identity: str) -> Reading | None:
        """Return what was read in the region of an item; None for an item without a result."""
        question = "SELECT region, value, confidence FROM read WHERE id = ?"
        found = self._database.execute(question, (identity,)).fetchone()
        return Reading(found[0], RegionText(found[1], found[2])) if found else None

    def _flush(self) -> None:
        self._database.executemany("INSERT INTO read VALUES (?, ?, ?, ?)", self._batch)
        self._batch.clear()


def text_of(region: Region | None) -> str:
    """Return a region as it is noted, as JSON."""
    return msgspec.json.encode(region).decode()
