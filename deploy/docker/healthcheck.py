"""The images' health check: exit status 0 while this container's command works.

An api must be ready, which includes Redis and storage; Flower must answer. Of a worker, one process must have
touched its file in TRACE_OCR_READY_FOLDER, as it does while it takes chunks, from when the models of
TRACE_OCR_PRELOAD are loaded. Any other command is healthy while it runs. Usage: healthcheck.py [COMMAND];
the default is the command of the container's first process. Standard library only.
"""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

PROC = Path("/proc")

READY_FOLDER = "TRACE_OCR_READY_FOLDER"

FRESH_SECONDS = 60
"""Age of a file from which on its process counts as stuck; it is touched every 5 seconds."""

TIMEOUT_SECONDS = 10
"""Longest wait for an answer; a ready api takes some milliseconds."""

PAGES = {
    "api": ("TRACE_OCR_API_PORT", 8080, "/ready"),
    "flower": ("TRACE_OCR_FLOWER_PORT", 5555, "/healthcheck"),
}
"""How commands that serve are asked: the variable of the port, its default, the path."""


def main() -> int:
    """Print what is wrong, if anything, and return the exit status."""
    command = sys.argv[1] if len(sys.argv) > 1 else command_of(arguments_of(PROC / "1"))
    problem = problem_of(command, os.environ)
    if problem:
        sys.stdout.write(f"{command}: {problem}\n")
    return 1 if problem else 0


def problem_of(command: str, environment: Mapping[str, str]) -> str:
    """Return what is wrong with a command's container, '' if nothing."""
    if command in PAGES:
        variable, default, path = PAGES[command]
        return answer_of(f"http://127.0.0.1:{environment.get(variable) or default}{path}")
    return "" if command != "worker" or serves(Path(environment[READY_FOLDER])) else "no process serves"


def command_of(arguments: Sequence[str]) -> str:
    """Return the command that is given to trace-ocr, '' where something else runs."""
    names = [Path(argument).name for argument in arguments]
    after = names[names.index("trace-ocr") + 1 :] if "trace-ocr" in names else []
    return after[0] if after else ""


def serves(folder: Path) -> bool:
    """Return whether a process of a worker says that it serves."""
    try:
        newest = max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
    except OSError:
        return False
    return time.time() - newest < FRESH_SECONDS


def arguments_of(folder: Path) -> list[str]:
    """Return the arguments of a process, none if it has just ended."""
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def answer_of(url: str) -> str:
    """Return why a page does not answer with 200, '' if it does."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - our own address
            return ""
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    sys.exit(main())
