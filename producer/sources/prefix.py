"""A prefix in remote storage, sorted by keys as UTF-8."""

from collections.abc import Iterator

from contract.errors import AccessDeniedError, ObjectMissingError, SourceError
from contract.job import Source
from contract.records import Item
from contract.storage import is_remote
from producer.sources.base import SourceContext, has_extension


class Prefix:
    """Every image or document below a prefix."""

    def match(self, text: str) -> Source | None:
        """Return the prefix that the text names; whether it exists shows when it is listed."""
        return Source(type="prefix", uri=text.rstrip("/") + "/") if is_remote(text) else None

    def root(self, uri: str) -> str:
        """Return the prefix."""
        return uri

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the prefix's items; ids are keys relative to the prefix."""
        for found in _uris(uri, context):
            identity = found.removeprefix(uri)
            reason = _reason_to_pass_over(identity, context)
            if reason:
                context.passed_over[reason] += 1
            else:
                yield Item(id=identity, uri=found)


SOURCE = Prefix()


def _reason_to_pass_over(key: str, context: SourceContext) -> str | None:
    if not key or key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in key.split("/")):
        return "hidden"
    return None if has_extension(key, context.extensions) else "other_extension"


def _uris(prefix: str, context: SourceContext) -> Iterator[str]:
    try:
        for uri, _ in context.storage.at(prefix).objects(prefix):
            yield uri
    except (ObjectMissingError, AccessDeniedError) as error:
        raise SourceError(f"the prefix {prefix} cannot be listed: {error}") from error
