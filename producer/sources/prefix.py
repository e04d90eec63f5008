"""A prefix in remote storage, sorted by keys as UTF-8."""

from collections.abc import Iterator

from contract.errors import SourceError, StorageError, StorageUnavailableError
from contract.job import Source
from contract.records import Item
from contract.storage import is_remote, join
from contract.workspace import FOLDERS, SUCCESS, holds_workspace
from producer.sources.base import SourceContext, has_extension
from producer.sources.fingerprints import fingerprint_of

FILE_EXTENSIONS = frozenset(
    {".json", ".txt", ".tsv", ".parquet", ".xlsx", ".xml", ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz"}
)
"""Extensions that name a file and no prefix, unless a slash follows: without them, a list or an archive that
is no source would be taken for an empty prefix."""

OF_WORKSPACES = frozenset({SUCCESS, *FOLDERS, "exports"})
"""Names that a workspace has: only where a key holds one, it is worth a request whether there is a job.json.
What can be taken for a source, the exports, sorts after the chunks."""


class Prefix:
    """Every image or document below a prefix, except in workspaces."""

    def match(self, text: str) -> Source | None:
        """Return the prefix that the text names; whether it exists shows when it is listed."""
        if has_extension(text, FILE_EXTENSIONS):
            return None
        return Source(type="prefix", uri=text.rstrip("/") + "/") if is_remote(text) else None

    def root(self, uri: str) -> str:
        """Return the prefix."""
        return uri

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the prefix's items; ids are keys relative to the prefix."""
        workspaces = _Workspaces(uri, context)
        for found, fingerprint in _uris(uri, context):
            identity = found.removeprefix(uri)
            if workspaces.hold(identity):
                continue
            reason = _reason_to_pass_over(identity, context)
            if reason:
                context.passed_over[reason] += 1
            else:
                yield Item(id=identity, uri=found, fingerprint=fingerprint)


SOURCE = Prefix()


class _Workspaces:
    """The workspaces below a prefix, found while its keys are listed in order; each is counted once."""

    def __init__(self, prefix: str, context: SourceContext) -> None:
        self._prefix, self._context = prefix, context
        self._inside: str | None = None
        self._looked_at: dict[str, bool] = {}

    def hold(self, key: str) -> bool:
        """Return whether a key, relative to the prefix, is in a workspace."""
        if self._inside is not None and key.startswith(self._inside):
            return True
        # Keys come in order, so no other folder is asked about again.
        self._looked_at = {name: found for name, found in self._looked_at.items() if key.startswith(name)}
        self._inside = next(filter(self._is_workspace, _candidates(key)), None)
        return self._inside is not None

    def _is_workspace(self, folder: str) -> bool:
        if folder not in self._looked_at:
            location = join(self._prefix, folder.rstrip("/"))
            found = holds_workspace(location, self._context.storage.at(location))
            self._looked_at[folder] = found
            self._context.passed_over.update({"workspace": 1} if found else {})
        return self._looked_at[folder]


def _candidates(key: str) -> Iterator[str]:
    """Yield the folders of a key, outermost first, that may be workspaces; each ends in a slash."""
    names = key.split("/")
    for depth in range(1, len(names)):
        if names[depth] in OF_WORKSPACES:
            yield "/".join(names[:depth]) + "/"


def _reason_to_pass_over(key: str, context: SourceContext) -> str | None:
    if not key or key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in key.split("/")):
        return "hidden"
    return None if has_extension(key, context.extensions) else "other_extension"


def _uris(prefix: str, context: SourceContext) -> Iterator[tuple[str, str | None]]:
    try:
        for uri, version in context.storage.at(prefix).versions(prefix):
            yield uri, fingerprint_of(version, context.changed) if context.changed else None
    except StorageUnavailableError:
        raise
    except StorageError as error:
        raise SourceError(f"the prefix {prefix} cannot be listed: {error}") from error
