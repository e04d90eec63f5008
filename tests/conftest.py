"""What every layer of tests shares: no setting of the developer's machine reaches a test."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "samples"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no TRACE_OCR_ or AWS_ variable but those a test sets."""
    for name in list(os.environ):
        if name.startswith(("TRACE_OCR_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture
def samples() -> Path:
    """The sample crops, pages and weights that ship with the product."""
    return SAMPLES
