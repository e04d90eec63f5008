"""Lanes: the parts of a batch side by side, on a processor's cores."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from worker.kernels.pixels import Pixels

Logits = npt.NDArray[np.float32]


class Lanes:
    """Runs batches part by part, each part in one of the lanes; the parts fit the processor's caches.

    The next batch enters once the last part has begun: no lane waits for the last parts of another's batch.

    Args:
        run: a part to its logits; called by as many threads as there are lanes
        part: samples of a part
    """

    def __init__(self, run: Callable[[Pixels], Logits], part: int, lanes: int) -> None:
        self._forward, self._part = run, part
        self._lanes = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._entry = threading.Lock()

    def run(self, batch: Pixels) -> Logits:
        """Return a batch's logits; thread-safe."""
        *parts, last = (batch[start : start + self._part] for start in range(0, len(batch), self._part))
        begun = threading.Event()
        with self._entry:
            running = [self._lanes.submit(self._forward, part) for part in parts]
            running.append(self._lanes.submit(self._last, last, begun.set))
            begun.wait()
        return np.concatenate([future.result() for future in running])

    def _last(self, part: Pixels, on_begin: Callable[[], None]) -> Logits:
        on_begin()
        return self._forward(part)
