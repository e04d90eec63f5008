"""The line: jobs with chunks that control has still to send, and what decides whose turn it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contract.tenants import DEFAULT_TENANT

ORDER = ("tenant", "priority", "urgent", "deadline", "at_deadline")
"""Fields of a job that its record in the ledger repeats, so that its turn is known without its workspace."""

FIELDS = (
    *("workspace", "kind", "created_at", "submissions", "chunks_ready", "chunks_sent", "chunks_planned"),
    *("chunk_seconds", "chunks_timed", "items_planned", "completed", "failed", *ORDER),
)
"""Fields of a job's record that `parse_standing` reads, in its order."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One job in the line. Times are Unix seconds.

    `unsent` is how many chunks control may send now, of which some may be done; `items_left` how many items
    have no line yet. `seconds` is what a chunk of the job takes, None if none was read yet. A higher
    `priority` goes first; `deadline` is infinite if there is none.
    """

    job: str
    workspace: str
    kind: str
    created_at: float
    submissions: int
    unsent: int
    items_left: int
    seconds: float | None
    tenant: str = DEFAULT_TENANT
    priority: int = 0
    urgent: bool = False
    deadline: float = math.inf

    @property
    def rank(self) -> tuple[float, int]:
        """The job's rank within its tenant: the smallest goes first, and equals take turns."""
        return self.deadline, -self.priority


def parse_standing(job: str, values: Sequence[str | None]) -> Standing:
    """Return the standing in the FIELDS of a job's record.

    Raises:
        TypeError, ValueError: the record is damaged
    """
    record = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}

    def count(name: str, missing: int = 0) -> int:
        return int(record.get(name, missing))

    timed = count("chunks_timed")
    return Standing(
        job=job,
        workspace=record.get("workspace", ""),
        kind=record.get("kind", ""),
        created_at=float(record.get("created_at", 0)),
        submissions=count("submissions"),
        unsent=max(0, count("chunks_ready") - count("chunks_sent", count("chunks_planned"))),
        items_left=max(0, count("items_planned") - count("completed") - count("failed")),
        seconds=float(record["chunk_seconds"]) / timed if timed else None,
        tenant=record.get("tenant", DEFAULT_TENANT),
        priority=count("priority"),
        urgent=record.get("urgent") == "1",
        deadline=float(record.get("deadline", math.inf)),
    )
