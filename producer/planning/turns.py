"""Plans of one control process that take turns, so that long ones do not block the others."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PLANS = 16
"""Plans of one process that have begun and not ended; each holds some chunks and eight threads, mostly idle.
Other submissions wait in Redis, unless they are urgent."""

TURN_SECONDS = 1.0
"""Seconds that a plan goes on before another has its turn; a new submission waits for about as long."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A plan that has begun: `steps` yields after each chunk, and ends with the plan."""

    job: str
    urgent: bool
    steps: Iterator[None]

    def take(self) -> bool:
        """Go on for TURN_SECONDS; return whether the plan has ended."""
        until = time.monotonic() + TURN_SECONDS
        return all(time.monotonic() < until for _ in self.steps)


class Turns:
    """The plans that have begun, and the order in which they go on; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._begun: set[str] = set()
        self._again: set[str] = set()

    def __contains__(self, job: object) -> bool:
        with self._lock:
            return job in self._begun

    def begin(self, job: str) -> bool:
        """Note that a job's plan begins; return False if it has begun already, which `end` then tells."""
        with self._lock:
            if job in self._begun:
                self._again.add(job)
                return False
            self._begun.add(job)
            return True

    def end(self, job: str) -> bool:
        """Note that a job's plan has ended; return whether it was submitted again meanwhile."""
        with self._lock:
            self._begun.discard(job)
            again = job in self._again
            self._again.discard(job)
            return again

    def wait(self, turn: Turn) -> None:
        """Let a plan go on after all that wait."""
        with self._lock:
            self._waiting.append(turn)

    def next(self, *, urgent: bool) -> Turn | None:
        """Return the plan that has waited longest, or None; with `urgent`, of the urgent ones."""
        with self._lock:
            found = next((turn for turn in self._waiting if turn.urgent or not urgent), None)
            if found:
                self._waiting.remove(found)
            return found

    def any_waiting(self, *, urgent: bool) -> bool:
        """Return whether `next` has a plan."""
        with self._lock:
            return any(turn.urgent or not urgent for turn in self._waiting)

    @property
    def full(self) -> bool:
        """Whether as many plans have begun as may."""
        with self._lock:
            return len(self._begun) >= MAX_PLANS
