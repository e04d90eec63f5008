"""Stand-in for Versity's gateway: moto's S3, with every object in a folder before its writer is answered.

gateway.py posix FOLDER; the port is in VGW_PORT, the path of the health check in VGW_HEALTH. A process that
is killed and started again serves what it had answered for. Keys and signatures are not checked.
"""

import logging
import os
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.s3.models import S3Backend, s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environment = dict[str, Any]
Start = Callable[..., Any]

PART = "part-"
"""Begin of the names of files that are being written."""


class Gateway:
    """A WSGI application: requests that write go one at a time, and reach the disk before their answers."""

    def __init__(self, folder: Path, health: str) -> None:
        self._folder, self._health = folder, health
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environment: Environment, start: Start) -> Iterable[bytes]:
        if environment["PATH_INFO"] == self._health:
            start("200 OK", [])
            return [b"ok"]
        if environment["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return self._moto(environment, start)
        # moto looks first and writes later: of two who create at once, both could win.
        with self._lock:
            answer = list(self._moto(environment, start))
            self._keep(environment)
        return answer

    def _keep(self, environment: Environment) -> None:
        """Write what a request has changed: one object, or all that changed in a bucket."""
        path = environment["PATH_INFO"].encode("latin-1").decode()  # WSGI's way of handing bytes on
        name, _, key = path.lstrip("/").partition("/")
        bucket = _backend().buckets.get(name)
        if bucket is None:
            return
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        removed = {urllib.parse.unquote(path.name) for path in folder.iterdir()} if not key else {key}
        if key in bucket.keys:
            self._write(folder, key, bucket.keys[key].value)
        for gone in removed - set(bucket.keys):
            (folder / _file_of(gone)).unlink(missing_ok=True)

    def _write(self, folder: Path, key: str, data: bytes) -> None:
        part = self._folder / f"{PART}{uuid.uuid4().hex}"
        part.write_bytes(data)
        part.rename(folder / _file_of(key))

    def load(self) -> None:
        """Put what the folder holds into moto, before anyone can ask for it."""
        server = make_server("127.0.0.1", 0, self._moto)
        threading.Thread(target=server.serve_forever).start()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106 - nobody looks at it
        )
        for folder in sorted(path for path in self._folder.iterdir() if path.is_dir()):
            client.create_bucket(Bucket=folder.name)
            for path in sorted(folder.iterdir()):
                client.put_object(
                    Bucket=folder.name, Key=urllib.parse.unquote(path.name), Body=path.read_bytes()
                )
        for part in self._folder.glob(f"{PART}*"):
            part.unlink()
        server.shutdown()


def _backend() -> S3Backend:
    (of_account,) = s3_backends.values()
    (backend,) = of_account.values()
    return backend


def _file_of(key: str) -> str:
    return urllib.parse.quote(key, safe="")


def main() -> None:
    """Serve until the process is ended; nothing has to be done at the end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = int(os.environ["VGW_PORT"].rpartition(":")[2])
    gateway = Gateway(Path(sys.argv[2]), os.environ.get("VGW_HEALTH", "/_health"))
    gateway.load()
    server = make_server("0.0.0.0", port, gateway, threaded=True)  # noqa: S104 - within its container
    sys.stderr.write("serving\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
