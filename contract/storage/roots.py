"""Allowed roots: job inputs and workspaces must be below these folders and remote prefixes."""

import os
from collections.abc import Iterator

from contract.errors import OutsideAllowedRootsError
from contract.storage import absolute


class AllowedRoots:
    """A set of roots; local paths are compared after following every symbolic link.

    An empty set allows nothing. S3 keys are compared as they are written: `..` has no meaning in a key.
    """

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = tuple(absolute(root) for root in roots)
        self._folders: dict[str, str] | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._roots)

    def narrowed(self, root: str) -> "AllowedRoots":
        """Return the set that allows only `root`; raises OutsideAllowedRootsError if it is not allowed."""
        self.check(root)
        return AllowedRoots((root,))

    def for_one_chunk(self) -> "AllowedRoots":
        """Return a set that resolves each folder once; links to files are still followed every time.

        For the minute that a chunk takes: it misses a folder that is replaced by a link in that time, as any
        check misses a replacement between check and read.
        """
        remembering = AllowedRoots(self._roots)
        remembering._folders = {}
        return remembering

    def check(self, uri: str) -> None:
        """Return if the URI is at or below a root; raises as `containing`."""
        self.containing(uri)

    def containing(self, uri: str) -> str:
        """Return the root that contains the URI.

        Raises:
            OutsideAllowedRootsError: no root contains it
            UnsupportedUriError: the scheme has no backend, or the name is impossible
        """
        location = absolute(uri) if self._folders is None else _remembered(uri, self._folders)
        for root in self._roots:
            if location == root or location.startswith(root.rstrip("/") + "/"):
                return root
        raise OutsideAllowedRootsError(
            f"{uri} is outside the allowed roots: add its folder or prefix to TRACE_OCR_ALLOWED_ROOTS "
            "if workers may read there"
        )


def _remembered(uri: str, folders: dict[str, str]) -> str:
    """Return the same as `absolute`, with one system call if the file's folder was resolved before."""
    folder, slash, name = uri.rpartition("/")
    plain = slash and name not in ("", ".", "..") and "://" not in uri and "\0" not in name
    if not plain or os.path.islink(uri):  # noqa: PTH114 - a Path for each item costs as much as the check
        return absolute(uri)
    if folder not in folders:
        folders[folder] = absolute(folder or "/")
    return f"{folders[folder].rstrip('/')}/{name}"
