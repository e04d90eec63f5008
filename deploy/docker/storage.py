"""Prepare S3 storage for a first try: create buckets, copy a folder into one.

storage.py buckets NAME...           create the buckets that do not exist
storage.py copy FOLDER s3://B/PREFIX upload every file below the folder to the prefix

The endpoint comes from the settings, credentials from the usual AWS variables.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contract.settings import load_settings
from contract.storage.base import split_bucket
from contract.storage.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def make_buckets(client: "S3Client", names: Sequence[str]) -> None:
    """Create each bucket that does not exist."""
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)


def copy_folder(client: "S3Client", folder: Path, prefix: str) -> int:
    """Upload every file below a folder to an s3:// prefix; return how many there were."""
    bucket, key = split_bucket(prefix.rstrip("/") + "/")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        client.upload_file(os.fspath(path), bucket, key + path.relative_to(folder).as_posix())
    return len(files)


def main(arguments: Sequence[str]) -> int:
    """Run the command in the arguments and return the exit status: 2 if there is no such command."""
    client = make_client(load_settings())
    match arguments:
        case ["buckets", *names] if names:
            make_buckets(client, names)
        case ["copy", folder, prefix] if prefix.startswith("s3://") and Path(folder).is_dir():
            sys.stdout.write(f"{copy_folder(client, Path(folder), prefix)} files copied\n")
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
