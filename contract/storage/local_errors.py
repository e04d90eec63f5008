"""What an error of the file system means."""

import contextlib
import errno
from collections.abc import Iterator

from contract.errors import AccessDeniedError, ObjectMissingError, StorageError, StorageUnavailableError

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise the errors of the file system in a block as storage errors."""
    try:
        yield
    except OSError as error:
        raise translate(uri, error) from error
    except ValueError as error:  # an embedded NUL byte: not a possible file name
        raise ObjectMissingError(f"{uri!r} cannot be the name of a file: {error}") from error


def translate(uri: str, error: OSError) -> StorageError:
    """Return the storage error that an error of the file system is."""
    if error.errno in _MISSING:
        linked = " (a link on its path is not followed)" if error.errno == errno.ELOOP else ""
        return ObjectMissingError(f"there is no file {uri}{linked}")
    if error.errno in _DENIED:
        return AccessDeniedError(f"access to {uri} is denied ({error.strerror}): check its owner and mode")
    return StorageUnavailableError(f"{uri}: {error.strerror or error}")
