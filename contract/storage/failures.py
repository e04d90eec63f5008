"""What a caller makes of storage's failures."""

from collections.abc import Iterator
from contextlib import contextmanager

from contract.errors import StorageError, StorageUnavailableError, TraceOcrError


@contextmanager
def failing_as(kind: type[TraceOcrError], what: str) -> Iterator[None]:
    """Make another error of what storage refuses in a block; that it is away stays an error of its own.

    Raises:
        kind: `what`, and storage's reason
        StorageUnavailableError: storage cannot be reached, so trying again may help
    """
    try:
        yield
    except StorageUnavailableError:
        raise
    except StorageError as error:
        raise kind(f"{what}: {error}") from error
