"""The short way to an object's bytes: obstore, the Rust object_store, where the extra `s3-fast` is installed.

A tenth of boto3's processor time, and little of it under the interpreter's lock. Only an object that arrives
whole comes this way: of anything else, boto3 asks again and decides, with its retries and its words for what
is wrong. Nothing but speed hangs on this module.
"""

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import obstore
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

from contract.storage.base import OnRequest
from contract.storage.s3 import CONNECT_SECONDS, READ_SECONDS, USER_AGENT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore.store import ClientConfig

CREDENTIALS_LIFE = timedelta(minutes=10)
"""Longest use of credentials before botocore is asked again. It renews those that expire ten minutes ahead;
obstore asks five minutes before the end of this life, so that what it signs with is always valid."""

TRANSFER_SECONDS = 3600
"""obstore ends a transfer after 30 s unless told otherwise; weights on a slow line take longer. A line that
stalls is noticed by the time-out of each read."""


class FastReader:
    """Reads whole objects, addressed and signed as boto3 would; one for all threads.

    Args:
        client: the boto3 client whose endpoint, region and addressing it shares
        on_request: told of every request
    """

    def __init__(self, client: "S3Client", on_request: OnRequest | None = None) -> None:
        self._client = client
        self._on_request = on_request
        self._making = threading.Lock()
        self._credentials: Boto3CredentialProvider | None = None
        self._buckets: dict[str, S3Store | None] = {}

    def read(self, bucket: str, key: str, limit: int) -> bytes | None:
        """Return the whole object; None if boto3 is to read it, or to say why it cannot be read.

        Args:
            limit: bytes; the body of a longer object is not fetched
        """
        store = self._bucket(bucket)
        # obstore takes slashes off both ends of a key, and would read another object.
        if store is None or key.startswith("/") or key.endswith("/"):
            return None
        data: bytes | None = None
        outcome: Literal["ok", "retried"] = "ok"
        try:
            answer = obstore.get(store, key)
            if answer.meta["size"] <= limit:
                data = bytes(answer.bytes())
        except ValueError:  # a key that obstore does not write, such as one with "//": nothing was asked
            return None
        except FileNotFoundError:
            pass  # an answer too; boto3 says it in our words
        except (BaseError, OSError):
            outcome = "retried"
        if self._on_request:
            self._on_request("GetObject", outcome, int(outcome == "retried"))
        return data

    def _bucket(self, bucket: str) -> S3Store | None:
        if bucket not in self._buckets:
            with self._making:
                if bucket not in self._buckets:
                    self._buckets[bucket] = self._make(bucket)
        return self._buckets[bucket]

    def _make(self, bucket: str) -> S3Store | None:
        """Return the bucket's client; None without credentials or with a name that is no bucket's."""
        try:
            url = bucket_url(self._client, bucket)
            self._credentials = self._credentials or Boto3CredentialProvider(ttl=CREDENTIALS_LIFE)
        except (BotoCoreError, ValueError):
            return None
        options: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=TRANSFER_SECONDS),
            "user_agent": USER_AGENT,
        }
        return S3Store(
            bucket,
            endpoint=url,
            aws_endpoint_url_s3=url,  # else obstore takes AWS_ENDPOINT_URL_S3, which our setting overrules
            virtual_hosted_style_request=True,  # the bucket is in the endpoint already
            region=self._client.meta.region_name,
            credential_provider=self._credentials,
            client_options=options,
            retry_config={"max_retries": 0},
        )


def bucket_url(client: "S3Client", bucket: str) -> str:
    """Return where boto3 would find the bucket: as a host of its own, or as a path of the endpoint.

    Raises:
        BotoCoreError: there are no credentials, or no bucket can have that name
    """
    endpoint = urlsplit(client.meta.endpoint_url)
    # Its host may be S3's global one, where requests go to the region's: only the form is taken.
    signed = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}))
    if str(signed.hostname).startswith(f"{bucket}."):
        return endpoint._replace(netloc=f"{bucket}.{endpoint.netloc}").geturl()
    return endpoint._replace(path=f"{endpoint.path.rstrip('/')}/{bucket}").geturl()
