"""Workspaces below a folder or prefix, found while its names are listed in order."""

from collections import Counter
from collections.abc import Iterator

from contract.layout import FOLDERS, SUCCESS
from contract.storage import Store, join
from contract.workspace import holds_workspace

OF_WORKSPACES = frozenset({SUCCESS, *FOLDERS, "exports"})
"""Names that a workspace has: only where a key holds one, it is worth a request whether there is a job.json.
What can be taken for a source, the exports, sorts after the chunks."""


class InnerWorkspaces:
    """The workspaces below a folder or prefix; each is counted once.

    Args:
        prefix: the folder or prefix, in the form to open
        passed_over: counts the workspaces found
    """

    def __init__(self, prefix: str, store: Store, passed_over: Counter[str]) -> None:
        self._prefix, self._store, self._passed_over = prefix, store, passed_over
        self._inside: str | None = None
        self._looked_at: dict[str, bool] = {}

    def hold(self, key: str) -> bool:
        """Return whether a key, relative to the prefix, is in a workspace; keys come in order."""
        if self._inside is not None and key.startswith(self._inside):
            return True
        # Keys come in order, so no other folder is asked about again.
        self._looked_at = {name: found for name, found in self._looked_at.items() if key.startswith(name)}
        self._inside = next(filter(self._is_workspace, _candidates(key)), None)
        return self._inside is not None

    def _is_workspace(self, folder: str) -> bool:
        if folder not in self._looked_at:
            found = holds_workspace(join(self._prefix, folder.rstrip("/")), self._store)
            self._looked_at[folder] = found
            self._passed_over.update({"workspace": 1} if found else {})
        return self._looked_at[folder]


def _candidates(key: str) -> Iterator[str]:
    """Yield the folders of a key, outermost first, that may be workspaces; each ends in a slash."""
    names = key.split("/")
    for depth in range(1, len(names)):
        if names[depth] in OF_WORKSPACES:
            yield "/".join(names[:depth]) + "/"
