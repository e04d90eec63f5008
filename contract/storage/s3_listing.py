"""Listings of S3 prefixes: pages asked for at once, and read several times as fast as botocore reads them."""

import http
import threading
from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from lxml import etree

from contract.storage.parallel_listing import Page, listed_in_parallel

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ = "TraceOcrListing"
"""The field of botocore's answer that holds what we have read of it."""

_PARSER = {"resolve_entities": False, "no_network": True, "huge_tree": False}


class Listed(NamedTuple):
    """One object in a listing; `modified` is in nanoseconds since 1970, in whole seconds."""

    key: str
    size: int
    modified: int
    etag: str | None


class S3Listing:
    """Lists prefixes through one client.

    Args:
        client: boto3's client
        listers: pages of one listing asked for at once, at most
    """

    def __init__(self, client: "S3Client", listers: int) -> None:
        self._client, self._listers = client, listers
        self._ours = threading.local()
        client.meta.events.register("before-parse.s3.ListObjectsV2", self._read)

    def below(self, bucket: str, prefix: str, delimiter: str = "") -> Generator[Listed, None, None]:
        """Yield the objects whose keys begin with the prefix, in key order.

        Args:
            delimiter: if not empty, objects with it behind the prefix are left out

        Raises: botocore's errors, after the objects before
        """

        def fetch(after: str | None, more: str | None) -> Page[Listed]:
            asked: Any = {"StartAfter": after} if after is not None else {}
            if more is not None:
                asked = {"ContinuationToken": more}
            self._ours.asks = True
            try:
                answer = self._client.list_objects_v2(
                    Bucket=bucket, Prefix=prefix, Delimiter=delimiter, **asked
                )
            finally:
                self._ours.asks = False
            return _page(answer)

        return listed_in_parallel(fetch, len(prefix), self._listers)

    def _read(
        self, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
    ) -> None:
        """Read an answer in place of botocore, which takes twenty times as long; it still reads errors."""
        if response_dict["status_code"] != http.HTTPStatus.OK or not getattr(self._ours, "asks", False):
            return
        try:
            root = etree.fromstring(response_dict["body"], etree.XMLParser(**_PARSER))
            customized_response_dict[_READ] = _entries(root), _texts(root, "CommonPrefixes", "Prefix")
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
            Listed(entry["Key"], entry["Size"], _nanoseconds(entry.get("LastModified")), entry.get("ETag"))
            for entry in answer.get("Contents", [])
        ]
        folders = [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
    keys = [entry.key for entry in entries]
    return Page(sorted(keys + folders) if folders else keys, entries, more)


def _nanoseconds(modified: datetime | None) -> int:
    return int(modified.timestamp()) * 1_000_000_000 if modified else 0


def _entries(root: "etree._Element") -> list[Listed]:
    keys, sizes = _texts(root, "Contents", "Key"), _texts(root, "Contents", "Size")
    times, etags = _texts(root, "Contents", "LastModified"), _texts(root, "Contents", "ETag")
    if not len(keys) == len(sizes) == len(times):
        raise ValueError("an object without a key, a size or a time")
    if len(etags) != len(keys):
        raise ValueError("an object without an ETag")
    return [
        Listed(key, int(size), _nanoseconds(datetime.fromisoformat(time)), etag)
        for key, size, time, etag in zip(keys, sizes, times, etags, strict=True)
    ]


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
