"""A registry: the implementations of one interface, by name, one module each."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The implementations in a package, in a fixed order; each is imported at its first use.

    So a command pays only for what it uses, and a new implementation is one module and one name.

    Args:
        package: the package of the modules
        attribute: the name of the implementation in each module
        names: the names of the modules, and so of the implementations
    """

    def __init__(self, package: str, attribute: str, names: tuple[str, ...]) -> None:
        self._package, self._attribute, self._names = package, attribute, names

    def __getitem__(self, name: str) -> T:
        """Return an implementation; raises KeyError for a name that is not registered."""
        if name not in self._names:
            raise KeyError(name)
        return cast("T", getattr(importlib.import_module(f"{self._package}.{name}"), self._attribute))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
