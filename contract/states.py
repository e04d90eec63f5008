"""A job's states, the transitions between them, and the actions that each state allows.

The ledger's Lua script uses TRANSITIONS; the steering commands, the status, the HTTP API and the web UI use
ACTIONS. Standard library only, since the public client imports it.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """The state of a job; each comment names the events that lead into the state."""

    VALIDATING = "validating"
    # open: a new job, one that Redis has lost, or one that was paused, cancelled, failed or completed
    IN_PROGRESS = "in_progress"
    # plan: from validating, with its first planned chunk or with the end of its plan
    # grow: from finalizing, with a round of retries
    FINALIZING = "finalizing"
    # drain: from validating or in progress, when all planned chunks are done; control then merges
    COMPLETED = "completed"
    # complete: from any state that has not ended, once `_SUCCESS` is in the workspace
    FAILED = "failed"
    # fail: from any state that has not ended, if the job cannot continue
    CANCELLING = "cancelling"
    # cancel: from any state that has not ended; running chunks still end
    CANCELLED = "cancelled"
    # stop: from cancelling, when no chunk runs any more; from validating, in progress or finalizing, when a
    # job is registered again whose workspace says that it is cancelled
    PAUSED = "paused"
    # pause: from validating or in progress; a job that is finalizing has nothing left to pause

    @property
    def words(self) -> str:
        """The state for display."""
        return self.replace("_", " ")


class Event(StrEnum):
    """What moves a job from one state to another; the comments of the states say when each happens."""

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
    """What a user may do with a job; the values are the commands and the paths of the HTTP API."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY_ERRORS = "retry-errors"
    REMOVE = "gc"

    @property
    def done(self) -> str:
        """The participle of the action, as in "it can be paused"."""
        return _DONE[self]


_DONE = {
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
    Action.RETRY_ERRORS: "retried",
    Action.REMOVE: "removed",
}

INITIAL = State.VALIDATING
"""The state of a job that the ledger does not know yet, after `open`."""

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
    # The marker in storage decides, even if the job was paused or cancelled while control merged.
    Event.COMPLETE: dict.fromkeys(_UNENDED, State.COMPLETED),
    Event.FAIL: dict.fromkeys(_UNENDED, State.FAILED),
}
"""Event -> state before -> state after; in other states the event changes nothing."""

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
"""The actions that have an effect in each state."""

RUNNING = frozenset(state for state in State if state not in TRANSITIONS[Event.OPEN])
"""A job in these states proceeds without user action."""

CLAIMABLE = frozenset(TRANSITIONS[Event.DRAIN])
"""Workers start chunks of jobs in these states."""

ENDED = frozenset(
    state for state in State if all(event is Event.OPEN for event in Event if state in TRANSITIONS[event])
)
"""A job in these states does not change until it is opened again; it expires in Redis after the retention."""

HALTED = frozenset(TRANSITIONS[Event.OPEN]) - {State.COMPLETED, State.CANCELLING}
"""The states that `halt.json` may hold. A completed job has `_SUCCESS` instead; a cancelling job is halted as
cancelled."""

ENTERED_BY: Mapping[State, Event] = {
    target: event
    for event in (Event.PAUSE, Event.CANCEL, Event.STOP, Event.COMPLETE, Event.FAIL)
    for target in TRANSITIONS[event].values()
}
"""The event that leads to each state that `Ledger.hold` and `Ledger.finish` take."""

LEADS_TO: Mapping[Action, frozenset[State]] = {
    Action.PAUSE: frozenset({State.PAUSED}),
    Action.RESUME: RUNNING,
    Action.CANCEL: frozenset({State.CANCELLING, State.CANCELLED}),
    Action.RETRY_ERRORS: RUNNING,
    Action.REMOVE: frozenset(),
}
"""The states that each action leads to. In those states the action is accepted and changes nothing, so it is
idempotent: a caller that got no answer may repeat it."""


def actions_of(state: State, failed: int, known: bool = True) -> tuple[Action, ...]:
    """Return the actions that are allowed for a job now.

    Args:
        failed: number of failed items; without any there is nothing to retry
        known: whether Redis knows the job; a lost job continues once it is resumed
    """
    lost = () if known or state not in RUNNING else (Action.RESUME,)
    allowed = (*ACTIONS[state], *lost)
    return tuple(
        action for action in Action if action in allowed and (action is not Action.RETRY_ERRORS or failed)
    )
