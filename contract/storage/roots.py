"""Allowed roots: the folders and remote prefixes that job inputs and workspaces must lie below."""

import os
from collections.abc import Iterator

from contract.errors import OutsideAllowedRootsError
from contract.storage import absolute


class AllowedRoots:
    """A closed set of roots; local paths are compared after every symbolic link is followed.

    An empty set allows nothing. S3 keys are compared as they are written: `..` has no meaning in a key.
    """

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = tuple(absolute(root) for root in roots)
        self._folders: dict[str, str] | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._roots)

    def narrowed(self, root: str) -> "AllowedRoots":
        """Return the set that allows only `root`; raises OutsideAllowedRootsError if that is not allowed."""
        self.check(root)
        return AllowedRoots((root,))

    def for_one_chunk(self) -> "AllowedRoots":
        """Return the set that resolves each folder once; files that are links are still followed every time.

        For the minute that a chunk takes: a folder exchanged for a link in between is not noticed, as one
        exchanged between the check and the reading never is.
        """
        remembering = AllowedRoots(self._roots)
        remembering._folders = {}
        return remembering

    def check(self, uri: str) -> None:
        """Return if the URI lies at or below a root; raises as `containing`."""
        self.containing(uri)

    def containing(self, uri: str) -> str:
        """Return the root that the URI lies at or below.

        Raises:
            OutsideAllowedRootsError: it does not
            UnsupportedUriError: its scheme has no backend, or nothing can have that name
        """
        location = absolute(uri) if self._folders is None else _remembered(uri, self._folders)
        for root in self._roots:
            if location == root or location.startswith(root.rstrip("/") + "/"):
                return root
        raise OutsideAllowedRootsError(
            f"{uri} lies outside the allowed roots: add its folder or prefix to TRACE_OCR_ALLOWED_ROOTS "
            "if workers may read there"
        )


def _remembered(uri: str, folders: dict[str, str]) -> str:
    """Return what `absolute` does, with one system call where the file's folder has been met before."""
    folder, slash, name = uri.rpartition("/")
    plain = slash and name not in ("", ".", "..") and "://" not in uri and "\0" not in name
    if not plain or os.path.islink(uri):  # noqa: PTH114 - a Path for each item costs as much as the check
        return absolute(uri)
    if folder not in folders:
        folders[folder] = absolute(folder or "/")
    return f"{folders[folder].rstrip('/')}/{name}"
