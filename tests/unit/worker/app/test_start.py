"""A worker's imports: what it does not need at its start is postponed, and works when it is needed."""

import gc
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY
from worker.models.imports import DEFERRED, TRIED, deferred_imports

STARTED = """
import importlib, sys
import worker.app.main
from worker.models.imports import DEFERRED, doctr_side

assert "torch" not in sys.modules
doctr_side("worker.models.detection")
doctr_side("worker.kinds.ocr")
assert not {*DEFERRED, "sympy", "triton"} & set(sys.modules), set(DEFERRED) & set(sys.modules)

from doctr.models import builder
import torch._dynamo.utils

roi_align = sys.modules["torchvision.ops.roi_align"]
assert roi_align.is_compile_supported("cpu") == torch._dynamo.utils.is_compile_supported("cpu")
assert set(builder.fclusterdata([[0.0], [0.1], [9.0]], 1.0, criterion="distance")) == {1, 2}
assert torch.compile(lambda x: x, backend="eager")(torch.ones(1)).item() == 1
"""
"""A start of the worker, the first use of docTR, and then a use of what was postponed."""


def test_a_worker_starts_without_torchs_compiler_and_has_it_when_it_is_needed() -> None:
    started = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=False)

    assert started.returncode == 0, started.stderr


def test_nothing_is_postponed_with_versions_that_were_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRIED, "torch", "0.0")
    monkeypatch.delitem(sys.modules, "doctr", raising=False)
    before = {name: sys.modules.get(name) for name in DEFERRED}

    with deferred_imports():
        within = {name: sys.modules.get(name) for name in DEFERRED}

    assert within == before


def test_a_block_that_imports_no_doctr_leaves_the_garbage_collector_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chunk's kind is looked up in such a block: objects that it froze each time would never be freed."""
    monkeypatch.delitem(sys.modules, "doctr", raising=False)
    frozen = gc.get_freeze_count()

    with deferred_imports():
        assert not gc.isenabled()

    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_the_locked_versions_were_tried() -> None:
    """Given another torch in the lock, these imports are to be looked at again."""
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    locked = [Requirement(line.rstrip(" \\")) for line in lines if line.partition("==")[0] in TRIED]

    assert {one.name for one in locked} == set(TRIED)
    for one in locked:
        assert str(one.specifier).startswith(f"=={TRIED[one.name]}."), one
