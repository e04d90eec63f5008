"""A job's states: which there are, what leads from one to the next, and what may be done in each.

The ledger's Lua gets TRANSITIONS when its script is registered; steering, the status, the HTTP API and the
web UI get ACTIONS. Standard library only, since the public client imports it.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """What a job is doing; each comment names the events that lead into the state."""

    VALIDATING = "validating"
    # open: a new job, one that Redis has lost, or one that was paused, cancelled, failed or completed
    IN_PROGRESS = "in_progress"
    # plan: from validating, with its first planned chunk or with the end of its plan
    # grow: from finalizing, with a round of retries
    FINALIZING = "finalizing"
    # drain: from validating or in progress, when all planned chunks are done; control merges then
    COMPLETED = "completed"
    # complete: from any state that has not ended, once `_SUCCESS` is in the workspace
    FAILED = "failed"
    # fail: from any state that has not ended, if the job cannot go on
    CANCELLING = "cancelling"
    # cancel: from any state that has not ended; running chunks still end
    CANCELLED = "cancelled"
    # stop: from cancelling, when no chunk runs any more; from validating, in progress or finalizing, when a
    # job is entered again whose workspace says that it is cancelled
    PAUSED = "paused"
    # pause: from validating or in progress; a job that is finalizing has nothing left to pause

    @property
    def words(self) -> str:
        """The state as a person reads it."""
        return self.replace("_", " ")


class Event(StrEnum):
    """What moves a job from one state to another; the states' comments say when each happens."""

    OPEN = "open"
    PLAN = "plan"
    GROW = "grow"
    DRAIN = "drain"
    PAUSE = "pause"
    CANCEL = "cancel"
    STOP = "stop"
    COMPLETE = "complete"
    FAIL = "fail"


class Action(StrEnum):
    """What a person may ask of a job; the values are the commands and the paths of the HTTP API."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY_ERRORS = "retry-errors"
    REMOVE = "gc"

    @property
    def done(self) -> str:
        """The participle that says it of a job, as in "it can be paused"."""
        return _DONE[self]


_DONE = {
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
    Action.RETRY_ERRORS: "retried",
    Action.REMOVE: "removed",
}

INITIAL = State.VALIDATING
"""Where `open` puts a job that the ledger does not know."""

_UNENDED = (State.VALIDATING, State.IN_PROGRESS, State.FINALIZING, State.PAUSED, State.CANCELLING)

TRANSITIONS: Mapping[Event, Mapping[State, State]] = {
    Event.OPEN: dict.fromkeys(
        (State.PAUSED, State.CANCELLING, State.COMPLETED, State.FAILED, State.CANCELLED), State.VALIDATING
    ),
    Event.PLAN: {State.VALIDATING: State.IN_PROGRESS},
    Event.GROW: {State.FINALIZING: State.IN_PROGRESS},
    Event.DRAIN: dict.fromkeys((State.VALIDATING, State.IN_PROGRESS), State.FINALIZING),
    Event.PAUSE: dict.fromkeys((State.VALIDATING, State.IN_PROGRESS), State.PAUSED),
    Event.CANCEL: dict.fromkeys(
        (State.VALIDATING, State.IN_PROGRESS, State.FINALIZING, State.PAUSED), State.CANCELLING
    ),
    Event.STOP: dict.fromkeys(
        (State.VALIDATING, State.IN_PROGRESS, State.FINALIZING, State.CANCELLING), State.CANCELLED
    ),
    # The marker in storage decides, also where somebody paused or cancelled while control merged.
    Event.COMPLETE: dict.fromkeys(_UNENDED, State.COMPLETED),
    Event.FAIL: dict.fromkeys(_UNENDED, State.FAILED),
}
"""Event, then state before, to state after; an event that a state does not have changes nothing."""

ACTIONS: Mapping[State, tuple[Action, ...]] = {
    State.VALIDATING: (Action.PAUSE, Action.CANCEL),
    State.IN_PROGRESS: (Action.PAUSE, Action.CANCEL),
    State.FINALIZING: (Action.CANCEL,),
    State.COMPLETED: (Action.RETRY_ERRORS,),
    State.FAILED: (Action.RESUME, Action.CANCEL),
    State.CANCELLING: (Action.RESUME,),
    State.CANCELLED: (Action.RESUME, Action.REMOVE),
    State.PAUSED: (Action.RESUME, Action.CANCEL),
}
"""What changes something in each state."""

RUNNING = frozenset(state for state in State if state not in TRANSITIONS[Event.OPEN])
"""A job in these goes on by itself."""

CLAIMABLE = frozenset(TRANSITIONS[Event.DRAIN])
"""Workers take up chunks of jobs in these."""

ENDED = frozenset(
    state for state in State if all(event is Event.OPEN for event in Event if state in TRANSITIONS[event])
)
"""Nothing happens to a job in these until it is opened again; Redis forgets it after a while."""

HALTED = frozenset(TRANSITIONS[Event.OPEN]) - {State.COMPLETED, State.CANCELLING}
"""What `halt.json` may say. A completed job has `_SUCCESS` instead;
a cancelling one is halted as cancelled."""

ENTERED_BY: Mapping[State, Event] = {
    target: event
    for event in (Event.PAUSE, Event.CANCEL, Event.STOP, Event.COMPLETE, Event.FAIL)
    for target in TRANSITIONS[event].values()
}
"""The event behind each state that a job is held or ended in."""

LEADS_TO: Mapping[Action, frozenset[State]] = {
    Action.PAUSE: frozenset({State.PAUSED}),
    Action.RESUME: RUNNING,
    Action.CANCEL: frozenset({State.CANCELLING, State.CANCELLED}),
    Action.RETRY_ERRORS: RUNNING,
    Action.REMOVE: frozenset(),
}
"""Where each action brings a job. Repeated there it is accepted and changes nothing, so that a caller who got
no answer may ask again."""


def actions_of(state: State, failed: int, known: bool = True) -> tuple[Action, ...]:
    """Return what may be done with a job now.

    Args:
        failed: its failed items; without any there is nothing to retry
        known: whether Redis knows the job: one that it has lost goes on once it is resumed
    """
    lost = () if known or state not in RUNNING else (Action.RESUME,)
    allowed = (*ACTIONS[state], *lost)
    return tuple(
        action for action in Action if action in allowed and (action is not Action.RETRY_ERRORS or failed)
    )
