"""Parts of groups that wait for a feeder."""

import threading
from collections import deque

from worker.feeders.groups import Part


class Waiting:
    """A queue of parts for all feeders of a pool; thread-safe."""

    def __init__(self) -> None:
        self._parts: deque[Part] = deque()
        self._changed = threading.Condition()
        self.closed = False

    def put(self, parts: list[Part], *, first: bool = False) -> None:
        """Let parts wait for a feeder; `first` before all others."""
        with self._changed:
            if first:
                self._parts.extendleft(reversed(parts))
            else:
                self._parts.extend(parts)
            self._changed.notify(len(parts))

    def take(self, *, wait: bool) -> Part | None:
        """Return the next part that somebody waits for; None if there is none, or the queue is closed."""
        with self._changed:
            while not self.closed:
                while self._parts:
                    part = self._parts.popleft()
                    if not part.group.over:
                        return part
                if not wait:
                    return None
                self._changed.wait()
            return None

    def close(self) -> list[Part]:
        """Let nothing wait any more; return what did."""
        with self._changed:
            self.closed = True
            left, self._parts = list(self._parts), deque()
            self._changed.notify_all()
        return left
