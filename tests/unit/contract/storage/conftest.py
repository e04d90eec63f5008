"""A backend of the tests' own, registered as the product's are: one module and one name."""

import sys
from pathlib import Path

import pytest

import contract.storage
from contract.storage import BACKENDS


@pytest.fixture
def memory_backend(monkeypatch: pytest.MonkeyPatch) -> str:
    """Given an empty in-memory storage with URIs of its own; return a prefix in it."""
    folders = [*contract.storage.__path__, str(Path(__file__).parent / "backends")]
    monkeypatch.setattr(contract.storage, "__path__", folders)
    monkeypatch.delitem(sys.modules, "contract.storage.mem", raising=False)
    monkeypatch.setattr(BACKENDS, "_names", (*BACKENDS, "mem"))
    return "mem://scans"
