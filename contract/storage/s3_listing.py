"""Listings of S3 prefixes: pages asked for at once, and read several times as fast as botocore reads them."""

import http
import threading
from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from lxml import etree

from contract.storage.key_ranges import Page
from contract.storage.parallel_listing import listed_in_parallel

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ = "TraceOcrListing"
"""The field of botocore's answer that holds what we have read of it."""

_NEVER = "1970-01-01T00:00:00Z"
"""The time of an object whose storage tells none."""

ADDRESS = ("Key", "Size")
VERSION = (*ADDRESS, "LastModified", "ETag")
"""Fields of an object in an answer: each takes some time to read."""

_PARSER = {"resolve_entities": False, "no_network": True, "huge_tree": False}


class Listed(NamedTuple):
    """One object in a listing; time and ETag only if they are asked for, as S3 writes them."""

    key: str
    size: int
    time: str = _NEVER
    etag: str | None = None

    @property
    def modified(self) -> int:
        """When it was written, in nanoseconds since 1970; listings have whole seconds."""
        return int(datetime.fromisoformat(self.time).timestamp()) * 1_000_000_000


class S3Listing:
    """Lists prefixes through one client.

    Args:
        client: boto3's client
        listers: pages of one listing asked for at once, at most
    """

    def __init__(self, client: "S3Client", listers: int) -> None:
        self._client, self._listers = client, listers
        self._ours = threading.local()
        # By this name it is called before botocore's own handlers, which parse each answer once more.
        client.meta.events.register("before-parse.*.ListObjectsV2", self._read)

    def below(
        self, bucket: str, prefix: str, delimiter: str = "", *, versions: bool = False
    ) -> Generator[Listed, None, None]:
        """Yield the objects whose keys begin with the prefix, in key order.

        Args:
            delimiter: if not empty, objects with it behind the prefix are left out
            versions: with their times and ETags

        Raises: botocore's errors, after the objects before
        """

        def fetch(after: str | None, more: str | None) -> Page[Listed]:
            asked: Any = {"StartAfter": after} if after is not None else {}
            if more is not None:
                asked = {"ContinuationToken": more}
            self._ours.fields = VERSION if versions else ADDRESS
            try:
                answer = self._client.list_objects_v2(
                    Bucket=bucket, Prefix=prefix, Delimiter=delimiter, **asked
                )
            finally:
                self._ours.fields = None
            return _page(answer)

        return listed_in_parallel(fetch, len(prefix), self._listers)

    def _read(
        self, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
    ) -> None:
        """Read an answer in place of botocore, which takes twenty times as long; it still reads errors."""
        fields = getattr(self._ours, "fields", None)
        if response_dict["status_code"] != http.HTTPStatus.OK or not fields:
            return
        try:
            root = etree.fromstring(response_dict["body"], etree.XMLParser(**_PARSER))
            if etree.QName(root).localname != "ListBucketResult":
                return  # an error with status 200
            customized_response_dict[_READ] = _entries(root, fields), _texts(root, "CommonPrefixes", "Prefix")
        except (etree.XMLSyntaxError, ValueError, TypeError):
            return
        more = _texts(root, "NextContinuationToken")
        if more:
            customized_response_dict["NextContinuationToken"] = more[0]
        response_dict["body"] = b""


def _page(answer: Any) -> Page[Listed]:
    more = answer.get("NextContinuationToken")
    if _READ in answer:
        entries, folders = answer[_READ]
    else:
        entries = [
            Listed(entry["Key"], entry["Size"], _time(entry.get("LastModified")), entry.get("ETag"))
            for entry in answer.get("Contents", [])
        ]
        folders = [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
    keys = [entry.key for entry in entries]
    return Page(sorted(keys + folders) if folders else keys, entries, more)


def _time(modified: datetime | None) -> str:
    return modified.isoformat() if modified else _NEVER


def _entries(root: "etree._Element", fields: tuple[str, ...]) -> list[Listed]:
    columns = [_texts(root, "Contents", field) for field in fields]
    if len({len(column) for column in columns}) > 1:
        raise ValueError("not every object has all fields")
    keys, sizes, *others = columns
    return list(map(Listed, keys, map(int, sizes), *others))


def _texts(root: "etree._Element", *path: str) -> list[str]:
    """Return the texts of all elements at a path below the root, decoded if they are names."""
    space = etree.QName(root).namespace
    steps = "/".join(f"x:{name}" if space else name for name in path)
    texts: Any = root.xpath(
        f"{steps}/text()", namespaces={"x": space} if space else None, smart_strings=False
    )
    if path[-1] not in ("Key", "Prefix") or root.findtext("{*}EncodingType") != "url":
        return list(texts)
    return [unquote_plus(text) if "%" in text or "+" in text else text for text in texts]
