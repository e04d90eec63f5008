"""The tables of states: whole, consistent with each other, and light to import."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from contract.job_status import TIMESTAMPS, JobStatus
from contract.states import (
    ACTIONS,
    ENDED,
    INITIAL,
    LEADS_TO,
    RUNNING,
    TRANSITIONS,
    Action,
    Event,
    State,
    actions_of,
)


def test_every_state_is_reached_from_the_first() -> None:
    reached, edge = {INITIAL}, {INITIAL}
    while edge:
        edge = {moves[state] for moves in TRANSITIONS.values() for state in edge & moves.keys()} - reached
        reached |= edge

    assert reached == set(State)


@pytest.mark.parametrize("state", State)
def test_an_ended_job_is_only_opened_and_every_other_one_ends(state: State) -> None:
    leaving = {event for event in Event if state in TRANSITIONS[event]}

    assert (leaving == {Event.OPEN}) is (state in ENDED)
    assert ({Event.COMPLETE, Event.FAIL} <= leaving) is (state not in ENDED)


@pytest.mark.parametrize("event", Event)
def test_every_event_moves_a_job_and_leads_to_another_state(event: Event) -> None:
    assert TRANSITIONS[event]
    assert all(before is not after for before, after in TRANSITIONS[event].items())


def test_a_job_that_does_not_run_is_opened_into_one_that_does() -> None:
    assert set(State) - TRANSITIONS[Event.OPEN].keys() == RUNNING
    assert set(TRANSITIONS[Event.OPEN].values()) <= RUNNING


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_way_on_and_offers_nothing_that_has_happened(state: State) -> None:
    assert ACTIONS[state]
    assert all(state not in LEADS_TO[action] for action in ACTIONS[state])
    assert list(actions_of(state, failed=1)) == sorted(ACTIONS[state], key=list(Action).index)


@pytest.mark.parametrize("action", Action)
def test_every_action_is_offered_somewhere(action: Action) -> None:
    assert action.done
    assert any(action in offered for offered in ACTIONS.values())
    assert action in LEADS_TO


def test_without_failed_items_there_is_nothing_to_retry() -> None:
    assert actions_of(State.COMPLETED, failed=0) == ()


@pytest.mark.parametrize("state", State)
def test_a_job_that_redis_has_lost_can_be_resumed(state: State) -> None:
    lost = actions_of(state, failed=0, known=False)

    assert (Action.RESUME in lost) is (state in RUNNING or Action.RESUME in ACTIONS[state])


def test_the_status_has_a_time_for_every_state_but_the_first() -> None:
    assert {field.name for field in fields(JobStatus)} >= TIMESTAMPS
    assert len(TIMESTAMPS) == len(State) - 1


def test_the_operators_handbook_has_the_same_actions() -> None:
    handbook = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")

    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", handbook, re.MULTILINE))

    for state in State:
        assert rows[state].removesuffix(", if items failed").split(", ") == [*ACTIONS[state]]


def test_states_and_status_need_the_standard_library_alone() -> None:
    code = "import sys, contract.job_status; print(*sorted({name.partition('.')[0] for name in sys.modules}))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert not {"pydantic", "msgspec", "redis", "celery", "httpx"} & set(loaded.split())
