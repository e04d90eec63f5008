"""Warnings of Celery that workers do not log."""

import warnings

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer.consumer import CANCEL_TASKS_BY_DEFAULT

from worker.app.main import ignore_known_warnings


def test_only_what_is_known_is_ignored() -> None:
    with warnings.catch_warnings(record=True) as shown:
        # given the filters that Celery sets
        warnings.filterwarnings("always", category=CPendingDeprecationWarning)
        ignore_known_warnings()

        warnings.warn(CANCEL_TASKS_BY_DEFAULT, CPendingDeprecationWarning, stacklevel=1)
        warnings.warn("something new", CPendingDeprecationWarning, stacklevel=1)

    assert [str(one.message) for one in shown] == ["something new"]
