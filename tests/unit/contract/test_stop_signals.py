"""Stop signals: a handler that cannot hang its process, wherever it interrupts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from contract.stop_signals import STOP_SIGNALS, event_of_stop_signals, stop_signals

AT_THE_WORST_MOMENT = """
import os, signal
from contract.stop_signals import event_of_stop_signals

event = event_of_stop_signals()
with event._cond:
    os.kill(os.getpid(), signal.SIGTERM)
assert event.wait(60)
"""


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = [(number, signal.getsignal(number)) for number in STOP_SIGNALS]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_received_as_its_number(number: int) -> None:
    received = stop_signals()

    os.kill(os.getpid(), number)

    assert received.get(timeout=60) == number


def test_a_second_signal_is_received_as_well() -> None:
    received = stop_signals()

    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    assert {received.get(timeout=60) for _ in range(2)} == {signal.SIGTERM, signal.SIGINT}


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_event_is_set_by_the_first_signal_and_not_before(number: int) -> None:
    event = event_of_stop_signals()
    assert not event.is_set()

    os.kill(os.getpid(), number)

    assert event.wait(60)


def test_a_signal_may_interrupt_the_main_thread_where_it_holds_the_events_lock() -> None:
    ended = subprocess.run([sys.executable, "-c", AT_THE_WORST_MOMENT], timeout=60, check=False)

    assert ended.returncode == 0
