"""Allowed roots: job inputs and workspaces must be below these folders and remote prefixes."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from contract.errors import ObjectMissingError, OutsideAllowedRootsError, StorageError
from contract.storage import Storage, absolute, is_read_only, is_remote


class AllowedRoots:
    """A set of roots; local paths are compared after following every symbolic link.

    An empty set allows nothing. S3 keys are compared as they are written: `..` has no meaning in a key. Open
    the URI that `resolved` or `recorded` returns, not the one that was asked about: storage follows no link.
    """

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = tuple(absolute(root) for root in roots)
        self._given = tuple(root.rstrip("/") for root in roots)
        self._folders: dict[str, str | None] | None = None

    @classmethod
    def of_canonical(cls, roots: Iterable[str]) -> "AllowedRoots":
        """Return the set of roots that another set has resolved: no link that came since is followed."""
        return cls(())._copy(tuple(roots))

    def __iter__(self) -> Iterator[str]:
        """Yield the roots that can be listed and written to."""
        return (root for root in self._roots if not is_read_only(root))

    @property
    def canonical(self) -> tuple[str, ...]:
        """All roots, for `of_canonical`."""
        return self._roots

    @property
    def is_empty(self) -> bool:
        """Whether the set allows nothing."""
        return not self._roots

    def narrowed(self, *roots: str) -> "AllowedRoots":
        """Return the set that allows only recorded roots; raises OutsideAllowedRootsError as `recorded`."""
        return self._copy(tuple(map(self.recorded, roots)))

    def within(self, roots: Iterable[str]) -> "AllowedRoots":
        """Return the set that allows what both this set and the given roots allow."""
        others = [absolute(root) for root in roots]
        both: dict[str, str] = {}
        for given, root in zip(self._given, self._roots, strict=True):
            for other in others:
                if _is_below(root, other):
                    both[given] = root
                elif _is_below(other, root):
                    both[given + other.removeprefix(root.rstrip("/"))] = other
        copy = self._copy(tuple(both.values()))
        copy._given = tuple(both)
        return copy

    def for_one_chunk(self) -> "AllowedRoots":
        """Return a set that resolves each folder once for `presumed`, in the minute that a chunk takes."""
        remembering = self._copy(self._roots)
        remembering._folders = {}
        return remembering

    def contain(self, uri: str) -> bool:
        """Return whether the URI is at or below a root."""
        try:
            self.check(uri)
        except StorageError:
            return False
        return True

    def check(self, uri: str) -> None:
        """Return if the URI is at or below a root; raises as `resolved`."""
        self.resolved(uri)

    def resolved(self, uri: str) -> str:
        """Return the canonical form of a URI that is at or below a root, with its links followed.

        Raises:
            OutsideAllowedRootsError: no root contains it
            UnsupportedUriError: the scheme has no backend, or the name is impossible
        """
        location = absolute(uri)
        self._root_above(location, uri)
        return location

    def presumed(self, uri: str) -> str | None:
        """Return what `resolved` returns if neither the file nor, since the last call, its folder is a link.

        Nothing is looked at. Storage follows no link, so a file that it finds there is the right one; if it
        finds none, ask `resolved`. None if only `resolved` knows: in a set that is not for one chunk, and for
        files outside the roots.
        """
        folder, _, name = uri.rpartition("/")
        if self._folders is None or name in ("", ".", "..") or "://" in uri:
            return None
        if folder not in self._folders:
            found = absolute(folder or "/")
            below = any(_is_below(found, root) for root in self._roots)
            self._folders[folder] = f"{found.rstrip('/')}/" if below else None
        prefix = self._folders[folder]
        return prefix and prefix + name

    def recorded(self, uri: str) -> str:
        """Return the form to open of a URI that was resolved and recorded earlier, maybe on another machine.

        Only links that lead to a root are followed: one below it was put there since.

        Raises:
            OutsideAllowedRootsError, UnsupportedUriError: as `resolved`
        """
        for given, root in zip(self._given, self._roots, strict=True):
            if uri == given or uri.startswith(given + "/"):
                uri = root.rstrip("/") + uri.removeprefix(given) or root
                break
        # Below a root no link is followed, so `..` means what it says.
        location = absolute(uri) if "://" in uri else os.path.normpath(uri)
        self._root_above(location, uri)
        return location

    def containing(self, location: str) -> str:
        """Return the root that contains a canonical URI; raises OutsideAllowedRootsError."""
        return self._root_above(location, location)

    def _root_above(self, location: str, uri: str) -> str:
        for root in self._roots:
            if _is_below(location, root):
                return root
        raise OutsideAllowedRootsError(f"{uri} is outside the allowed roots: {_advice(location, uri)}")

    def _copy(self, roots: tuple[str, ...]) -> "AllowedRoots":
        """Return the set of some canonical roots: they are not resolved again."""
        copy = AllowedRoots(())
        copy._roots = copy._given = roots
        return copy


def check_root(root: str, storage: Storage) -> None:
    """Return if this process can list a root.

    Raises:
        ObjectMissingError: it is missing
        StorageError: it cannot be listed
    """
    if not is_remote(root) and not Path(root).is_dir():
        raise ObjectMissingError(f"{root} is not a folder on this machine: create or mount it")
    next(storage.at(root).names(root), None)


def _advice(location: str, uri: str) -> str:
    if "://" not in uri and location != os.path.normpath(Path(uri).absolute()):
        return "a link leads there, and links are followed only within the source and the allowed roots"
    return "add its folder or prefix to TRACE_OCR_ALLOWED_ROOTS if workers may read there"


def _is_below(location: str, root: str) -> bool:
    """Return whether a canonical URI is at or below a canonical root."""
    return location == root or location.startswith(root.rstrip("/") + "/")
