"""The program of a child that counts pages."""

import subprocess
import sys


def test_it_starts_without_what_only_planning_needs() -> None:
    # Every child that is started or replaced pays for what it imports.
    code = "import sys, producer.sources.page_counting; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "pypdfium2" in loaded
    assert not loaded & {"pydantic", "numpy", "boto3", "httpx", "contract.kinds", "producer.sources.listing"}
