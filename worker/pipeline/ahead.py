"""Run a function ahead of its consumer, in order and with a bound."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ahead(pool: Executor, function: Callable[[T], U], values: Iterable[T], window: int) -> Iterator[U]:
    """Yield function(value) in order; at most `window` results are running or waiting for the consumer.

    If no thread of the pool has started a value when its result is needed, the caller computes it: it would
    only wait otherwise. So a pool of few threads is enough for slow values too.

    `Executor.map` has no such bound in Python 3.11: it would decode a whole chunk at once.
    """
    pending: deque[tuple[T, Future[U]]] = deque()
    try:
        for value in values:
            pending.append((value, pool.submit(function, value)))
            if len(pending) >= window:
                yield _result(function, *pending.popleft())
        while pending:
            yield _result(function, *pending.popleft())
    finally:
        for _, future in pending:
            future.cancel()


def _result(function: Callable[[T], U], value: T, future: Future[U]) -> U:
    return function(value) if future.cancel() else future.result()
