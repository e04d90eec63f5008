"""The web UI in a browser: opened with a key, and checked for accessibility by axe-core."""

import functools
import subprocess
from pathlib import Path

from playwright.sync_api import Page, expect

PATIENCE = 60_000
"""Milliseconds that the web UI has to show what happens: a worker may first have to load its model."""


def open_with_key(page: Page, key: str, path: str = "/") -> None:
    """Open a view in a tab that has no key yet, and give it one."""
    page.goto(path)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#key-dialog")).to_be_hidden()


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page as it is shown: each rule with its elements."""
    page.evaluate(_axe())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{rule['id']}: {[node['html'] for node in rule['nodes']]}" for rule in found]


@functools.cache
def _axe() -> str:
    root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=True)
    script = Path(root.stdout.strip()) / "axe-core" / "axe.min.js"
    assert script.is_file(), "no axe-core: tools/test-programs.sh installs it, or says how"
    return script.read_text()
