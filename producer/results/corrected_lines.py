"""Lay corrections over the lines of a merge, and over single results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from contract.kinds import KINDS
from contract.kinds.base import Given, Kind
from contract.records import identity_of
from producer.results.corrections import Overlay
from producer.results.sinks.base import MergedLine


@dataclass
class Corrections:
    """The corrections of a job, laid over its lines; `applied` counts the texts that it has met."""

    kind: Kind
    overlay: Overlay
    applied: int = 0

    @classmethod
    def of(cls, kind: str, overlay: Overlay) -> "Corrections":
        """Return the corrections of a job of a kind."""
        return cls(KINDS[kind], overlay)

    @property
    def texts(self) -> int:
        """The number of texts with a correction."""
        return sum(map(len, self.overlay.values()))

    def over(self, lines: Iterator[MergedLine]) -> Iterator[MergedLine]:
        """Return the lines with their corrections; those of failed items do not count."""
        return map(self._over, lines) if self.overlay else lines

    def over_line(self, identity: str, line: Any) -> Any:
        """Return a decoded result of an item with its corrections."""
        given = self.overlay.get(identity)
        return line if given is None else self._corrected(line, given)

    def _over(self, merged: MergedLine) -> MergedLine:
        given = None if merged.failure else self.overlay.get(identity_of(merged.line))
        if given is None:
            return merged
        line = self._corrected(msgspec.json.decode(merged.line, type=self.kind.line), given)
        return MergedLine(msgspec.json.encode(line), None, merged.chunk, merged.confidence)

    def _corrected(self, line: Any, given: Mapping[int | None, Given]) -> Any:
        if self.kind.corrected is None:
            return line
        self.applied += len(given)
        return self.kind.corrected(line, given)
