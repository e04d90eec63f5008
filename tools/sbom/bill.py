"""A CycloneDX document without what is only for development, and the licences of what is left."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Document = dict[str, Any]

DEVELOPMENT = frozenset({"dev"})
"""Extras that no installation has."""

UNKNOWN = "not declared"


def wanted(project: Document, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements of a `[project]` table, with those of some of its extras."""
    optional = project["optional-dependencies"]
    for text in (*project["dependencies"], *(one for extra in extras for one in optional[extra])):
        yield Requirement(text)


def dropped(overrides: str) -> frozenset[str]:
    """Return the packages that tools/lock-overrides.txt keeps out of every installation."""
    return frozenset(re.findall(r"^(\S+) ; sys_platform == 'never'$", overrides, re.MULTILINE))


def closure(
    first: Iterable[Requirement], requires: Mapping[str, Iterable[str]], without: frozenset[str]
) -> frozenset[str]:
    """Return the names of all packages that some requirements lead to on this machine.

    Args:
        requires: what each installed package says that it requires, by canonical name
        without: packages that are not installed, whoever asks for them
    """
    found: set[tuple[str, str]] = set()
    waiting = [(one.name, extra) for one in first for extra in ("", *one.extras)]
    while waiting:
        named, extra = waiting.pop()
        name = canonicalize_name(named)
        if name in without or (name, extra) in found:
            continue
        found.add((name, extra))
        for inner in map(Requirement, requires.get(name, ())):
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                waiting += [(inner.name, further) for further in ("", *inner.extras)]
    return frozenset(name for name, _ in found)


def only(bill: Document, names: frozenset[str]) -> Document:
    """Return a CycloneDX document with the components of these canonical names, and their edges."""
    components = [one for one in bill["components"] if canonicalize_name(one["name"]) in names]
    kept = {bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in components)}
    return {
        **bill,
        "components": components,
        "dependencies": [
            {"ref": one["ref"], "dependsOn": [to for to in one.get("dependsOn", ()) if to in kept]}
            for one in bill["dependencies"]
            if one["ref"] in kept
        ],
    }


def licences(bill: Document) -> Iterator[tuple[str, str, str]]:
    """Yield the name, version and licence of each component, as its own metadata declares it."""
    for one in bill["components"]:
        found = [_name(entry) for entry in one.get("licenses", ())]
        yield one["name"], one["version"], "; ".join(dict.fromkeys(found)) or UNKNOWN


def _name(entry: Document) -> str:
    if "expression" in entry:
        return str(entry["expression"])
    licence = entry["license"]
    # An SPDX name, else a classifier, or a text of many lines.
    return str(licence.get("id") or licence["name"]).rpartition(" :: ")[2].strip().partition("\n")[0]
