"""One command at a time works on the nights below a root."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from contract.storage import Storage, Store
from producer.nightly.lease import Lease, LeaseLostError

EXPIRY = 0.4


@pytest.fixture
def store(storage: Storage, tmp_path: Path) -> Store:
    return storage.at(str(tmp_path))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "nights/lease.json")


def leave(uri: str, host: str, process: int) -> None:
    """Leave the lease of a command that was killed."""
    Path(uri).parent.mkdir()
    Path(uri).write_text(json.dumps({"token": "other", "host": host, "process": process, "renewals": 3}))


def test_a_second_command_waits_until_the_first_has_ended(store: Store, uri: str) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with Lease(uri, store, lambda holder: (order.append(holder), waiting.set()), EXPIRY):  # type: ignore[func-returns-value]
            order.append("second")

    with Lease(uri, store, expiry=EXPIRY) as lease:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        # longer than a lease that is not renewed is respected
        thread.join(2 * EXPIRY)
        order.append("first")
        lease.check()
    thread.join(10)

    assert order[0].startswith(f"process {os.getpid()} on ")
    assert order[1:] == ["first", "second"]
    assert not Path(uri).exists()


def test_the_lease_of_a_command_that_was_killed_is_taken_over(store: Store, uri: str) -> None:
    leave(uri, "elsewhere", os.getpid())

    with Lease(uri, store, expiry=EXPIRY) as lease:
        lease.check()


def test_one_that_ended_on_this_machine_is_not_waited_for(store: Store, uri: str) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    leave(uri, os.uname().nodename, ended.pid)
    told: list[str] = []

    with Lease(uri, store, told.append, expiry=3600):
        assert not told


def test_a_command_whose_lease_was_taken_over_notices(store: Store, uri: str) -> None:
    with Lease(uri, store, expiry=EXPIRY) as lease:
        store.replace(uri, b"{}")
        lease._lost.wait(10)

        with pytest.raises(LeaseLostError):
            lease.check()
    assert Path(uri).read_bytes() == b"{}"
