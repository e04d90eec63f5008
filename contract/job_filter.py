"""Which jobs a listing shows. Standard library only, since the public client imports it."""

from dataclasses import dataclass
from typing import Literal

from contract.job_status import JobStatus

Group = Literal["attention", "running", "ended"]
"""Groups of jobs in a listing: those that somebody should look at, those that have not ended, the others."""


def groups_of(status: JobStatus) -> tuple[Group, ...]:
    """Return the groups that a job is in."""
    runs: Group = "ended" if status.ended else "running"
    return ("attention", runs) if status.attention else (runs,)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a listing shows; None and an empty tuple are no condition.

    A job must have all `tags`, and each of the `words`, in lower case, in its id, source, tags or metadata.
    Times are Unix seconds: `created_from` is the first that is shown, `created_before` the first that is not.
    """

    status: str | None = None
    kind: str | None = None
    tags: tuple[str, ...] = ()
    created_from: float | None = None
    created_before: float | None = None
    tenant: str | None = None
    words: tuple[str, ...] = ()
    group: Group | None = None

    def accepts(self, status: JobStatus) -> bool:
        """Return whether a job is shown; its `attention` is known if that is asked for."""
        return self.accepts_any_group(status) and self.group in (None, *groups_of(status))

    def accepts_any_group(self, status: JobStatus) -> bool:
        """Return whether a job is shown if it is in the group."""
        return (
            self.status in (None, status.status)
            and self.kind in (None, status.kind)
            and self.tenant in (None, status.tenant)
            and set(self.tags) <= set(status.tags)
            and self.accepts_time(status.created_at)
            and self._accepts_words(status)
        )

    def _accepts_words(self, status: JobStatus) -> bool:
        if not self.words:
            return True
        texts = (status.id, status.source, *status.tags, *status.metadata, *status.metadata.values())
        text = "\n".join(texts).lower()
        return all(word in text for word in self.words)

    def accepts_time(self, created_at: float) -> bool:
        """Return whether a job that was created then may be shown."""
        return (self.created_from is None or created_at >= self.created_from) and (
            self.created_before is None or created_at < self.created_before
        )
