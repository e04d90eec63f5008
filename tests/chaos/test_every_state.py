"""From every state that kills can leave behind, a live worker and control end the job with each item once."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.chaos.machine import FAILURES, Clock, Machine, install

COMMANDS = ("submit", "request", "pause", "cancel", "resume", "resume over http", "retry", "retry over http")
CLOCK = Clock()


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a system in one thread."""
    install(monkeypatch, CLOCK)


STEPS = st.one_of(st.integers(1, 60), st.just(10_000))
"""How far an actor goes before another does: some calls, or to its end."""


class System(RuleBasedStateMachine):
    """Processes start, go on for some steps and are killed, in every order that hypothesis thinks of."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(CLOCK)
        self.bugs, self.flushed, self.lost = 0, False, False

    @initialize(
        over_http=st.booleans(),
        fed=st.booleans(),
        deadline=st.sampled_from([None, None, 0, 100, 300]),
        steps=STEPS,
        rounds=st.integers(0, 3),
        slow=st.integers(0, 80),
    )
    def submit(
        self, over_http: bool, fed: bool, deadline: int | None, steps: int, rounds: int, slow: int
    ) -> None:
        """Given a submission, beside another that may be slow, and a system that was well for a while.

        It may find no control process alive, and then sends its chunks itself. It may have a deadline, so
        many seconds from now, at which it ends with what was read.
        """
        self.machine.feeds = fed
        if deadline is not None:
            update = {"deadline": int(CLOCK.now) + deadline, "at_deadline": "partial"}
            self.machine.job = self.machine.job.model_copy(update=update)
        if slow:
            self.machine.command("submit").step(slow)
        self.machine.command("request" if over_http else "submit").step(steps)
        self.machine.live_on(rounds)

    @rule(name=st.sampled_from(COMMANDS), steps=STEPS)
    def command(self, name: str, steps: int) -> None:
        self.machine.command(name).step(steps)

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        self.machine.live_on(rounds=1)

    @rule(number=st.integers(0, 1), steps=STEPS)
    def look(self, number: int, steps: int) -> None:
        if not any(actor.name == f"control {number}" for actor in self.machine.actors):
            self.machine.look(number).step(steps)

    @rule(number=st.integers(0, 1), steps=STEPS)
    def feed(self, number: int, steps: int) -> None:
        if not any(actor.name == f"feeder {number}" for actor in self.machine.actors):
            self.machine.feed(number).step(steps)

    @rule(alive=st.booleans())
    def control_is_seen(self, alive: bool) -> None:
        """Whether the next submission sees a live control process."""
        self.machine.feeds = alive

    @rule(steps=STEPS)
    def plan(self, steps: int) -> None:
        if not any(actor.name == "planner" for actor in self.machine.actors):
            self.machine.plan().step(steps)

    @rule(failure=st.sampled_from([None, None, *FAILURES]), steps=STEPS)
    def work(self, failure: str | None, steps: int) -> None:
        self.bugs += failure == "a bug"
        if failure != "a bug" or self.bugs < 5:
            self.machine.work(FAILURES[failure]() if failure else None).step(steps)

    @precondition(lambda self: self.machine.actors)
    @rule(data=st.data(), steps=STEPS)
    def go_on(self, data: st.DataObject, steps: int) -> None:
        data.draw(st.sampled_from(self.machine.actors)).step(steps)

    @precondition(lambda self: self.machine.actors)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.machine.kill(data.draw(st.sampled_from(self.machine.actors)))

    @rule()
    def wait(self) -> None:
        self.machine.wait()

    @precondition(lambda self: not self.flushed)
    @rule(really=st.sampled_from([False, False, True]))
    def flush(self, really: bool) -> None:
        if really:
            self.machine.flush()
            self.flushed = True

    @precondition(lambda self: not self.lost)
    @rule(number=st.integers(0, 2))
    def lose_a_part(self, number: int) -> None:
        """Storage loses a part, or somebody deletes it."""
        self.lost = self.machine.lose_part(number)

    @precondition(lambda self: self.machine.restores)
    @rule()
    def stop_restoring(self) -> None:
        """A message that cannot be restored, or a killed holder of kombu's lock, keeps all others from it."""
        self.machine.restores = False

    @invariant()
    def forget_ended(self) -> None:
        self.machine.forget_ended()

    def teardown(self) -> None:
        machine = self.machine
        for actor in list(machine.actors):
            machine.kill(actor) if actor.name in ("worker", "planner") else actor.finish()
        machine.live_on(12)
        if machine.needs_operator():
            machine.interrupted = False
            machine.command("submit").finish()
            machine.live_on(12)
        machine.check_end()


def search(examples: int, steps: int, *, same: bool) -> None:
    run_state_machine_as_test(
        System,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=same,
            database=None,
            print_blob=True,
        ),
    )


def test_every_job_ends_from_every_state() -> None:
    search(examples=40, steps=30, same=True)


def test_chunks_that_were_not_sent_yet_are_read_after_redis_was_emptied() -> None:
    machine = Machine(CLOCK)
    machine.command("request").finish()
    machine.plan().finish()
    machine.look(0).finish()
    machine.feed(0).finish()
    assert machine.ledger.line(), "all chunks were sent at once"

    machine.flush()
    machine.feeders = [machine._feeder(), machine._feeder()]

    machine.live_on(12)
    machine.check_end()


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_every_job_ends_from_every_state_in_a_long_search() -> None:
    search(examples=400, steps=60, same=False)
