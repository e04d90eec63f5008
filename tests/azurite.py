"""Azurite, Microsoft's emulator of Azure Blob Storage, as a process of this machine."""

import base64
import contextlib
import hashlib
import hmac
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its published key."""

API = "2023-11-03"
"""Version of the REST API in which containers are made."""


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Run an empty Azurite; yield the URL of its account.

    Args:
        folder: where it starts, and may write
    """
    program = shutil.which("azurite-blob")
    assert program, "no azurite: tools/test-programs.sh installs it, or says how"
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
    with subprocess.Popen(
        [program, *options, "--skipApiVersionCheck"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        listening = (re.search(r"listens on (http://\S+)", line) for line in process.stdout)
        found = next(filter(None, listening), None)
        assert found, "azurite ended before it listened"
        # It logs every request, and would wait for a reader of a full pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        try:
            yield f"{found[1]}/{ACCOUNT}"
        finally:
            process.terminate()


def make_container(account_url: str, name: str) -> None:
    """Make a container, with a request signed by the account's key."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": API}
    signed = "".join(f"{header}:{value}\n" for header, value in headers.items())
    # Of the path-style URLs of emulators, the account is signed twice.
    text = "PUT" + "\n" * 12 + signed + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(f"{account_url}/{name}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request):
        pass
