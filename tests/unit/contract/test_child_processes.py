"""Child processes that open untrusted files: a bad file costs their parent only one request.

The children are real ones, of a program that does what each request orders.
"""

import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from contract.child_processes import ChildPool, ChildProcess
from contract.errors import ChildCrashedError, ChildTimedOutError
from contract.frames import MAX_HEADER
from contract.time_limits import LOOK_SECONDS, WAITS, processor_seconds

PROGRAM = """
import os, resource, signal, sys, threading
from pathlib import Path
import msgspec
from contract.child_processes import serve

class Order(msgspec.Struct):
    act: str

class Said(msgspec.Struct):
    memory: int

def answer(order, data):
    if order.act == "crash":
        os._exit(1)
    if order.act == "crash once" and not Path(sys.argv[1], "crashed").exists():
        Path(sys.argv[1], "crashed").touch()
        os._exit(1)
    if order.act == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if order.act == "hang":
        threading.Event().wait()
    while order.act == "spin":
        pass
    if order.act == "write":
        os.write(0, data)
        threading.Event().wait()
    if order.act == "write and end":
        os.write(0, data)
        os._exit(0)
    return Said(resource.getrlimit(resource.RLIMIT_DATA)[0]), data

serve(Order, answer, 1 << 30)
"""

PARENT = """
import sys
from contract.child_processes import ChildProcess
from tests.unit.contract.test_child_processes import Order, Said

child = ChildProcess("ordered", ".")
child.ask(Order("say"), Said, 60.0)
print(child.pid, flush=True)
child.ask(Order("hang"), Said, 600.0)
"""

PATIENCE = 60.0
MAX_REPLY = 1_000


class Order(msgspec.Struct):
    act: str


class Said(msgspec.Struct):
    memory: int


class Unpickled:
    """Its pickle, once loaded, ends the process that loads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def frame(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!QQ", len(header), len(data)) + header + data


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given the program of the children, installed; return its folder."""
    (tmp_path / "ordered.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    return tmp_path


@pytest.fixture
def make_child(tmp_path: Path) -> Iterator[Callable[[], ChildProcess]]:
    made = []

    def make() -> ChildProcess:
        made.append(ChildProcess("ordered", tmp_path, max_reply=MAX_REPLY))
        return made[-1]

    yield make
    for child in made:
        child.close()


@pytest.fixture
def child(make_child: Callable[[], ChildProcess]) -> ChildProcess:
    return make_child()


def ask(child: ChildProcess, act: str, data: bytes = b"", seconds: float = PATIENCE) -> bytes:
    return bytes(child.ask(Order(act), Said, seconds, data)[1])


def test_one_process_answers_many_requests_and_ends_when_it_is_closed(child: ChildProcess) -> None:
    said = [(ask(child, "say", data), child.pid) for data in (b"one", b"", b"x" * MAX_REPLY)]

    child.close()

    assert [data for data, _ in said] == [b"one", b"", b"x" * MAX_REPLY]
    assert len({pid for _, pid in said}) == 1
    assert child.pid is None


def test_its_memory_is_bounded_and_its_parents_is_not(child: ChildProcess) -> None:
    own = resource.getrlimit(resource.RLIMIT_DATA)

    assert child.ask(Order("say"), Said, PATIENCE)[0].memory == 1 << 30
    assert resource.getrlimit(resource.RLIMIT_DATA) == own


@pytest.mark.parametrize(
    "reply",
    [
        frame(pickle.dumps(Unpickled())),
        frame(b'{"memory": "much"}'),
        frame(b'{"other": ' + b"[" * 100_000),
        b"\xff" * 100,
        frame(b" " * (MAX_HEADER - 20) + b'{"memory": 1}' + b" " * 20),
        frame(b'{"memory": 1}', b"x" * (MAX_REPLY + 1)),
    ],
    ids=["pickle", "other type", "deep", "no frame", "long header", "much data"],
)
def test_an_answer_that_is_none_counts_as_a_crash_and_the_next_request_is_answered(
    reply: bytes, child: ChildProcess
) -> None:
    with pytest.raises(ChildCrashedError, match="crashed 2 processes in a row"):
        ask(child, "write", reply)

    assert ask(child, "say", b"well") == b"well"


@pytest.mark.parametrize("act", ["crash", "write and end"])
def test_a_request_over_which_two_processes_end_is_to_blame(act: str, child: ChildProcess) -> None:
    with pytest.raises(ChildCrashedError):
        # Half a frame, of what it writes.
        ask(child, act, frame(b'{"memory": 1}')[:20])

    assert ask(child, "say", b"well") == b"well"


def test_a_request_over_which_one_process_ended_is_answered_by_the_next(child: ChildProcess) -> None:
    assert ask(child, "crash once", b"well") == b"well"


def test_a_process_that_was_killed_between_two_requests_counts_for_neither(
    child: ChildProcess, program: Path
) -> None:
    ask(child, "say")
    assert child.pid
    ended = os.pidfd_open(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    select.select([ended], [], [])
    os.close(ended)

    # It crashes one process, and would be to blame if that one counted.
    assert ask(child, "crash once", b"well") == b"well"


@pytest.mark.parametrize(
    ("act", "behind"),
    [("hang", b""), ("stop", b""), ("write", frame(b'{"memory": 1}', b"x")[:-1])],
    ids=["no answer", "stopped", "half an answer"],
)
def test_a_process_that_is_late_is_replaced(act: str, behind: bytes, child: ChildProcess) -> None:
    ask(child, "say")
    late = child.pid

    with pytest.raises(ChildTimedOutError, match=r"longer than 0\.2 s"):
        ask(child, act, behind, seconds=0.2 / WAITS)

    assert ask(child, "say", b"well") == b"well"
    assert child.pid != late


def test_a_request_that_is_never_taken_is_late_too(child: ChildProcess) -> None:
    ask(child, "say")
    assert child.pid
    os.kill(child.pid, signal.SIGSTOP)

    with pytest.raises(ChildTimedOutError):
        ask(child, "say", b"x" * (8 << 20), seconds=0.2 / WAITS)


class TestOnABusyMachine:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given that any share of a core will do."""
        monkeypatch.setattr("contract.time_limits.WAITS", 10_000)

    def test_a_process_that_spins_is_replaced_for_the_time_that_it_has_used(
        self, child: ChildProcess
    ) -> None:
        ask(child, "say")
        late = child.pid

        with pytest.raises(ChildTimedOutError, match=r"more than 0\.05 s of processor time"):
            ask(child, "spin", seconds=0.05)

        assert ask(child, "say", b"well") == b"well"
        assert child.pid != late

    def test_a_process_that_had_no_turn_for_longer_than_its_limit_answers(
        self, child: ChildProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask(child, "say")
        starved, looks = child.pid, []

        def look(pid: int) -> float:
            looks.append(pid)
            if len(looks) == 3:
                os.kill(pid, signal.SIGCONT)
            return processor_seconds(pid)

        # when it gets no processor before it was looked at twice, after its limit has passed
        monkeypatch.setattr("contract.time_limits.processor_seconds", look)

        assert ask(child, "stop", b"well", seconds=LOOK_SECONDS / 2) == b"well"
        assert set(looks) == {starved} == {child.pid}


def test_a_program_that_does_not_start_is_a_crash() -> None:
    with pytest.raises(ChildCrashedError):
        ask(ChildProcess("no_such_program_of_ours"), "say")


def test_a_hanging_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        ended = os.pidfd_open(int(parent.stdout.readline()))

        parent.kill()

        assert select.select([ended], [], [], PATIENCE)[0] == [ended]
        os.close(ended)


class TestPool:
    def test_two_that_ask_at_once_have_a_child_each_and_closing_ends_them(
        self, make_child: Callable[[], ChildProcess]
    ) -> None:
        pool = ChildPool(make_child)
        with pool.lent() as one, pool.lent() as other:
            assert (ask(one, "say", b"1"), ask(other, "say", b"2")) == (b"1", b"2")
            assert one.pid != other.pid

        pool.close()

        assert (one.pid, other.pid) == (None, None)

    def test_the_one_given_back_last_is_lent_first(self, make_child: Callable[[], ChildProcess]) -> None:
        pool = ChildPool(make_child)
        with pool.lent() as one:
            with pool.lent() as other:
                pass
            with pool.lent() as again:
                assert again is other
        with pool.lent() as first:
            assert first is one

    def test_one_is_given_back_even_if_its_request_fails(
        self, make_child: Callable[[], ChildProcess]
    ) -> None:
        pool = ChildPool(make_child)
        with pytest.raises(ChildCrashedError), pool.lent() as one:
            raise ChildCrashedError

        with pool.lent() as again:
            assert again is one

    def test_a_thread_waits_where_all_are_lent(self, make_child: Callable[[], ChildProcess]) -> None:
        pool = ChildPool(make_child, most=1)
        lent = threading.Event()

        def wait() -> None:
            with pool.lent():
                lent.set()

        with pool.lent():
            thread = threading.Thread(target=wait)
            thread.start()
            assert not lent.wait(0.05)
        thread.join()

        assert lent.is_set()
