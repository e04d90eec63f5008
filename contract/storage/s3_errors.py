"""What an error of S3 means: its code says it, or the status of the answer."""

import contextlib
import http
from collections.abc import Callable, Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ValidationError,
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
from contract.storage.base import split_bucket

SHOWN = 200
"""Maximum characters of S3's own explanation that a message repeats."""

MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {"403", "401", "AccessDenied", "AllAccessDisabled", "AccountProblem"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "InvalidSecurity",
    "NotSignedUp",
}
_ARCHIVED = {"InvalidObjectState"}
_BUSY = {"SlowDown", "Throttling", "ThrottlingException", "KMS.ThrottlingException", "RequestLimitExceeded"}
_PASSING = {"InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "IncompleteBody"}
"""Errors that may pass although their status is 4xx, and those of HEAD requests, which name no status."""
_TAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
BEYOND = {"416", "InvalidRange"}
_NOT_CONDITIONAL = {"501", "NotImplemented", "400", "InvalidArgument"}


def held(write: Callable[[], object]) -> bool | None:
    """Do a conditional write; return whether its condition held, None if the storage knows no conditions."""
    try:
        write()
    except ClientError as error:
        code = code_of(error)
        if code in _TAKEN:
            return False
        if code not in _NOT_CONDITIONAL:
            raise
        return None
    return True


def code_of(error: ClientError) -> str:
    """Return the code of S3's error, empty if it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise the errors of boto3 and smart_open in a block as storage errors."""
    try:
        yield
    except ClientError as error:
        raise _translate(uri, error) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound) as error:
        raise CredentialsError(
            f"{uri}: no S3 credentials ({type(error).__name__}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or a profile or role"
        ) from error
    except (ParamValidationError, ValidationError) as error:
        raise StorageRefusedError(f"{uri} cannot be the name of an object: {error}") from error
    except (BotoCoreError, OSError, ValueError) as error:
        # smart_open wraps S3's error in an OSError or a ValueError.
        answered = getattr(error, "backend_error", None) or error.__cause__ or error.__context__
        if isinstance(answered, ClientError):
            raise _translate(uri, answered) from error
        raise StorageUnavailableError(f"{uri}: S3 cannot be reached ({type(error).__name__})") from error


def _translate(uri: str, error: ClientError) -> StorageError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return ObjectMissingError(f"there is no bucket {split_bucket(uri)[0]}, which {uri} names")
    if code in MISSING:
        return ObjectMissingError(f"there is no object {uri}")
    if code in _CREDENTIALS:
        return CredentialsError(
            f"S3 does not accept the credentials for {uri} ({code}): renew or correct them"
        )
    if code in _DENIED:
        return AccessDeniedError(f"S3 denies access to {uri} ({code}): check the key's or role's permissions")
    if code in _ARCHIVED:
        return ArchivedError(f"{uri} is archived ({code}): restore it, then read it again")
    if code in _BUSY or status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return StorageBusyError(f"{uri}: S3 asks for fewer requests ({code or status})")
    if code in _PASSING or not status or (status >= 500 and status != http.HTTPStatus.NOT_IMPLEMENTED):
        return StorageUnavailableError(f"{uri}: S3 answered {code or status or 'an error'}")
    said = error.response.get("Error", {}).get("Message", "")
    return StorageRefusedError(f"{uri}: S3 refuses it ({code or status}: {said[:SHOWN]})")
