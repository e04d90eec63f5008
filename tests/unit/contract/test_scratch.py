"""Temporary folders: removed at the end, and after a kill by the next process that starts."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from contract import scratch
from contract.scratch import SETTLED_SECONDS, scratch_folder, sweep_scratch

LEAVE_ONE = """
import os, sys, tempfile
from contract.scratch import scratch_folder
tempfile.tempdir = sys.argv[1]
with scratch_folder() as folder:
    (folder / "copy.pdf").write_bytes(b"%PDF")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    os.utime(folder, (time.time() - 2 * SETTLED_SECONDS,) * 2)


def test_a_folder_is_removed_at_the_end(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "copy").write_bytes(b"bytes")

    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_swept_once_it_is_settled(temporary: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVE_ONE, str(temporary)], check=False)
    (left,) = temporary.iterdir()

    assert sweep_scratch() == 0
    age(left)

    assert sweep_scratch() == 1
    assert list(temporary.iterdir()) == []


def test_a_folder_in_use_and_others_folders_stay(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = temporary / "outside"
    outside.mkdir()
    (temporary / f"{scratch.PREFIX}link").symlink_to(outside)
    with scratch_folder() as used:
        age(used)
        age(outside)

        assert sweep_scratch() == 0
        assert used.is_dir()

    someone = temporary / f"{scratch.PREFIX}someone"
    someone.mkdir()
    age(someone)
    monkeypatch.setattr(scratch.os, "getuid", lambda: os.geteuid() + 1)

    assert sweep_scratch() == 0
    assert outside.is_dir()
