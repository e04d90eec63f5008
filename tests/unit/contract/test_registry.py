"""A registry: one module and one name for each implementation."""

import sys
from pathlib import Path

import pytest

from contract.registry import Registry


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    """A package of two modules, registered."""
    (tmp_path / "shapes").mkdir()
    for name in ("round", "flat"):
        (tmp_path / "shapes" / f"{name}.py").write_text(f"SHAPE = '{name} one'")
        monkeypatch.delitem(sys.modules, f"shapes.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("shapes", "SHAPE", ("round", "flat"))


def test_implementations_come_by_name_in_the_order_of_registration(shapes: Registry[str]) -> None:
    assert dict(shapes) == {"round": "round one", "flat": "flat one"}


def test_a_module_is_imported_only_when_it_is_used(shapes: Registry[str]) -> None:
    assert "round" in shapes
    assert list(shapes) == ["round", "flat"]
    assert "shapes.round" not in sys.modules

    assert shapes["round"] == "round one"
    assert "shapes.flat" not in sys.modules


def test_what_is_not_registered_is_not_imported_even_if_such_a_module_exists() -> None:
    with pytest.raises(KeyError):
        Registry[str]("contract", "SHAPE", ())["errors"]
