"""Telemetry of the libraries, switched off: no library reports to its maker from a user's machine."""

from collections.abc import MutableMapping

SWITCHES = {
    # ONNX Runtime looks up its maker's host, and writes device ids below the user's cache and TMPDIR.
    "ORT_DISABLE_TELEMETRY": "1",
    # docTR imports huggingface_hub, which names the installed libraries in its requests.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Ray Data, in the benchmarks, reports its usage.
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables that switch it off. The libraries read them when they are loaded."""


def switch_off_telemetry(environment: MutableMapping[str, str]) -> None:
    """Set the SWITCHES in an environment; one that the user has set keeps its value."""
    for name, value in SWITCHES.items():
        # Not set again: setenv is not safe while other threads read the environment.
        if name not in environment:
            environment[name] = value
