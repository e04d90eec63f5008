"""Errors: which exit status each kind ends in."""

import pytest

from contract import errors


@pytest.mark.parametrize(
    "usage",
    [errors.UsageError, errors.SettingsError, errors.WorkspaceConflictError, errors.UnknownJobError],
)
def test_what_the_caller_got_wrong_exits_2(usage: type[errors.TraceOcrError]) -> None:
    assert usage.exit_code == 2


@pytest.mark.parametrize(
    "failure", [errors.JobError, errors.BrokerError, errors.SourceError, errors.StorageError]
)
def test_what_went_wrong_with_the_job_or_the_system_exits_3(failure: type[errors.TraceOcrError]) -> None:
    assert failure.exit_code == 3


def test_an_item_error_keeps_its_code_and_its_message() -> None:
    error = errors.ItemError(errors.ErrorCode.EMPTY_FILE, "a.png holds no bytes")

    assert (error.code, error.message, str(error)) == (
        "empty_file",
        "a.png holds no bytes",
        "a.png holds no bytes",
    )
