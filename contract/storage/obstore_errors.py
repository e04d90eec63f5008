"""What an error of obstore means: its type tells some, the status and the code in its text the rest."""

import contextlib
import http
import re
from collections.abc import Iterator

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from contract.errors import (
    AccessDeniedError,
    ArchivedError,
    CredentialsError,
    ObjectMissingError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
)

BEYOND = http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,100})</Code>")

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_CREDENTIALS = {
    "AuthenticationFailed",
    "AuthenticationRequired",
    "ExpiredToken",
    "InvalidAuthenticationInfo",
    "InvalidSecurity",
    "InvalidToken",
    "NoAuthenticationInformation",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_ARCHIVED = {"BlobArchived", "BlobBeingRehydrated"}
_BUSY = {"SlowDown", "ServerBusy", "TooManyRequests"}
_PASSING = {"OperationAborted", "PendingCopyOperation", "RequestTimeout"}
"""Errors that may pass although their status is 4xx."""

NEEDED = {
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the path of a key, or run as a service account",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or the "
    "variables of a service principal or a managed identity",
}
"""What to do about missing credentials, by scheme."""


def status_of(error: Exception) -> int:
    """Return the HTTP status that obstore's error tells; 0 if there was no answer."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0


def is_beyond(error: Exception) -> bool:
    """Return whether an object ends before the range that was asked for."""
    return status_of(error) == BEYOND or "Wanted range starting at" in str(error)


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise obstore's errors in the block as ours."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise error_of(uri, error) from error


def error_of(uri: str, error: Exception) -> StorageError:
    """Return our error for one of obstore's.

    The text of obstore's is never repeated: it holds the request's URL and what the server answered.
    """
    text = str(error)
    status = status_of(error)
    match = _CODE.search(text)
    code = match[1] if match else ""
    if isinstance(error, (ValueError, InvalidPathError)):
        return StorageRefusedError(
            f"{uri} cannot be read or listed: a key holds an empty segment, a `.` or `..` segment, or a "
            "control character"
        )
    if "token request" in text and status < 500 and status != http.HTTPStatus.TOO_MANY_REQUESTS:
        return without_credentials(uri)
    if code in _NO_BUCKET:
        return ObjectMissingError(f"there is no bucket {uri.split('/')[2]}, which {uri} names")
    if isinstance(error, FileNotFoundError) or status == http.HTTPStatus.NOT_FOUND:
        return ObjectMissingError(f"there is no object {uri}")
    if code in _CREDENTIALS or isinstance(error, UnauthenticatedError):
        return CredentialsError(
            f"storage does not accept the credentials for {uri} ({code or status}): renew or correct them"
        )
    if isinstance(error, PermissionDeniedError):
        return AccessDeniedError(f"storage denies access to {uri} ({code or status}): check the permissions")
    return _by_answer(uri, error, status, code)


def _by_answer(uri: str, error: Exception, status: int, code: str) -> StorageError:
    if code in _ARCHIVED:
        return ArchivedError(f"{uri} is archived ({code}): restore it, then read it again")
    if isinstance(error, PreconditionError):
        return StorageUnavailableError(
            f"{uri} was replaced while it was read, or is locked ({code or status})"
        )
    if code in _BUSY or status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return StorageBusyError(f"{uri}: storage asks for fewer requests ({code or status})")
    if code in _PASSING or (status >= 500 and status != http.HTTPStatus.NOT_IMPLEMENTED):
        return StorageUnavailableError(f"{uri}: storage answered {code or status}")
    if not status:
        return StorageUnavailableError(f"{uri}: storage cannot be reached")
    return StorageRefusedError(f"{uri}: storage refuses it ({code or status})")


def without_credentials(uri: str) -> CredentialsError:
    """Return the error for an environment with which no client can be made, or no token be fetched."""
    return CredentialsError(f"{uri}: no usable credentials: {NEEDED[uri.partition('://')[0]]}")
