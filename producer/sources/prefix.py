"""A prefix in remote storage, sorted by keys as UTF-8."""

from collections.abc import Iterator

from contract.errors import SourceError
from contract.inner_workspaces import InnerWorkspaces
from contract.records import Item
from contract.source import Source
from contract.storage import is_remote
from contract.storage.failures import failing_as
from producer.sources.base import SourceContext, has_extension, other_extension
from producer.sources.fingerprints import fingerprint_of

FILE_EXTENSIONS = frozenset(
    {".json", ".txt", ".tsv", ".parquet", ".xlsx", ".xml", ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz"}
)
"""Extensions that name a file and no prefix, unless a slash follows: without them, a list or an archive that
is no source would be taken for an empty prefix."""


class Prefix:
    """Every image or document below a prefix, except in workspaces."""

    named = "a prefix in remote storage"

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
        workspaces = InnerWorkspaces(uri, context.storage.at(uri), context.passed_over)
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


def _reason_to_pass_over(key: str, context: SourceContext) -> str | None:
    if not key or key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in key.split("/")):
        return "hidden"
    return None if has_extension(key, context.extensions) else other_extension(key)


def _uris(prefix: str, context: SourceContext) -> Iterator[tuple[str, str | None]]:
    store, changed = context.storage.at(prefix), context.changed
    with failing_as(SourceError, f"the prefix {prefix} cannot be listed"):
        for folder in (prefix + name for name in context.folders):
            if changed:
                yield from (
                    (uri, fingerprint_of(version, changed)) for uri, version in store.versions(folder)
                )
            else:
                yield from ((uri, None) for uri, _ in store.objects(folder))
