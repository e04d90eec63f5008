"""The signals that stop a process, received so that its handler cannot hang it.

Python runs a handler between two instructions of the main thread. `threading.Event.set` takes a lock that is
not reentrant: if the main thread holds it, in `wait` or in the handler of the signal before, the process
hangs. `queue.SimpleQueue.put` may interrupt itself, which its documentation promises.
"""

import queue
import signal
import threading

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What stops a process: service managers and containers send SIGTERM, a terminal's Ctrl-C sends SIGINT."""


def stop_signals() -> "queue.SimpleQueue[int]":
    """Return a queue that gets the number of each stop signal from now on; call from the main thread."""
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: received.put(number))
    return received


def event_of_stop_signals() -> threading.Event:
    """Return an event that the first stop signal sets; call from the main thread."""
    received, event = stop_signals(), threading.Event()

    def wait() -> None:
        received.get()
        event.set()

    threading.Thread(target=wait, name="stop-signals", daemon=True).start()
    return event
