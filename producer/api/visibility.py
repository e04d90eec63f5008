"""What keys with roots may see, remembered for a while: following links of thousands of paths takes time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.job_status import JobStatus

REMEMBERED_SECONDS = 30.0
"""Seconds after which links are followed again. What an answer shows is looked at again in any case."""

Place = tuple[tuple[str, ...], str, str]
"""The roots of a key, and the source and the workspace of a job."""


@dataclass
class Visibility:
    """Remembers the answers of a check; thread-safe, since a lost answer is only asked for again.

    Args:
        clock: seconds that never go back
    """

    clock: Callable[[], float] = time.monotonic
    _answers: dict[Place, bool] = field(default_factory=dict)
    _until: float = -1.0

    def presumed(self, roots: tuple[str, ...], check: Callable[[JobStatus], bool], status: JobStatus) -> bool:
        """Return whether a key with these roots may see a job, as the check says or said lately."""
        if self.clock() >= self._until:
            self._answers, self._until = {}, self.clock() + REMEMBERED_SECONDS
        place = roots, status.source, status.workspace
        answer = self._answers.get(place)
        if answer is None:
            answer = self._answers[place] = check(status)
        return answer
