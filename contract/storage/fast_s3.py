"""Fast reads of whole S3 objects with obstore, the Rust object_store, if the extra `s3-fast` is installed.

obstore takes a tenth of boto3's processor time, and holds the GIL for little of it. It only returns objects
that arrive whole: otherwise boto3 makes the request again, with its retries and its error messages. This
module only affects speed.
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

from contract.storage.asking import CONNECT_SECONDS, READ_SECONDS, USER_AGENT
from contract.storage.base import OnRequest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore.store import ClientConfig

CREDENTIALS_LIFE = timedelta(minutes=10)
"""How long credentials are used before botocore is asked again. botocore renews credentials ten minutes
before they expire; obstore asks five minutes before the end of this time, so the ones in use are valid."""

TRANSFER_SECONDS = 3600
"""Timeout of a transfer. obstore's default is 30 s; weights over a slow connection take longer. The timeout
of each read detects a stalled connection."""


class FastReader:
    """Reads whole objects, addressed and signed as boto3 would; thread-safe.

    Args:
        client: the boto3 client whose endpoint, region and addressing to use
        on_request: called for every request
    """

    def __init__(self, client: "S3Client", on_request: OnRequest | None = None) -> None:
        self._client = client
        self._on_request = on_request
        self._making = threading.Lock()
        self._credentials: Boto3CredentialProvider | None = None
        self._buckets: dict[str, S3Store | None] = {}

    def read(self, bucket: str, key: str, limit: int) -> bytes | None:
        """Return the whole object; None if boto3 must read it or report the error.

        Args:
            limit: maximum bytes; the body of a longer object is not fetched
        """
        store = self._bucket(bucket)
        # obstore strips slashes from both ends of a key, and would read another object.
        if store is None or key.startswith("/") or key.endswith("/"):
            return None
        data: bytes | None = None
        outcome: Literal["ok", "retried"] = "ok"
        try:
            answer = obstore.get(store, key)
            if answer.meta["size"] <= limit:
                data = bytes(answer.bytes())
        except ValueError:  # a key that obstore does not support, such as one with "//": no request was made
            return None
        except FileNotFoundError:
            pass  # an answer too; boto3 reports it with our error message
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
        """Return the bucket's client; None without credentials or if the bucket's name is invalid."""
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
            aws_endpoint_url_s3=url,  # or obstore uses AWS_ENDPOINT_URL_S3, which our setting overrides
            virtual_hosted_style_request=True,  # the bucket is in the endpoint already
            region=self._client.meta.region_name,
            credential_provider=self._credentials,
            client_options=options,
            retry_config={"max_retries": 0},
        )


def bucket_url(client: "S3Client", bucket: str) -> str:
    """Return the URL that boto3 uses for the bucket: its own host, or a path of the endpoint.

    Raises:
        BotoCoreError: there are no credentials, or the bucket's name is invalid
    """
    endpoint = urlsplit(client.meta.endpoint_url)
    # A presigned URL may have S3's global host, but requests go to the region's: use only its form.
    signed = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}))
    if str(signed.hostname).startswith(f"{bucket}."):
        return endpoint._replace(netloc=f"{bucket}.{endpoint.netloc}").geturl()
    return endpoint._replace(path=f"{endpoint.path.rstrip('/')}/{bucket}").geturl()
