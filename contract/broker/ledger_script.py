"""The script of the ledger: `ledger.lua`, after the job's states, which it gets from Python."""

from collections.abc import Iterable
from importlib import resources

from contract.broker.line import ORDER
from contract.states import CLAIMABLE, ENDED, INITIAL, TRANSITIONS, State


def ledger_script() -> str:
    """Return the Lua code of all transitions."""
    code = resources.files("contract.broker").joinpath("ledger.lua").read_text(encoding="utf-8")
    return _lua_tables() + code


def _lua_tables() -> str:
    """Return the job's states as the Lua tables that `ledger.lua` reads."""
    return "\n".join(
        (
            f'local INITIAL = "{INITIAL}"',
            f"local ORDER = {{ {', '.join(map(repr, ORDER))} }}",
            f"local ENDED = {_lua_set(ENDED)}",
            f"local CLAIMABLE = {_lua_set(CLAIMABLE)}",
            "local TRANSITIONS = {",
            *(
                f"  {event} = {{ " + ", ".join(f'{old} = "{new}"' for old, new in moves.items()) + " },"
                for event, moves in TRANSITIONS.items()
            ),
            "}\n",
        )
    )


def _lua_set(states: Iterable[State]) -> str:
    return "{ " + ", ".join(f"{state} = true" for state in sorted(states)) + " }"
