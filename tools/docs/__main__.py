"""Write the site's sources and the man pages: python -m tools.docs FOLDER."""

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from producer.cli.main import cli
from tools.docs import reference
from tools.docs.pages import copy_pages

REPOSITORY = Path(__file__).resolve().parents[2]

CLIENT = "The client of the HTTP API. It needs httpx and msgspec alone."

INTERFACES = {
    "contract.kinds.base": "Kinds of jobs",
    "producer.sources.base": "Sources",
    "producer.regions.base": "Formats of regions",
    "producer.results.sinks.base": "Result formats",
    "contract.storage.base": "Storage",
    "contract.shards.base": "Formats of shards",
}
"""What a new implementation has to be: CONTRIBUTING.md."""


def main(folder: Path) -> None:
    """Write FOLDER/pages for mkdocs, and FOLDER/man."""
    shutil.rmtree(folder, ignore_errors=True)
    pages, man = folder / "pages", folder / "man"
    copy_pages(REPOSITORY, pages)
    made = pages / "reference"
    made.mkdir()
    (made / "commands.md").write_text(reference.commands(), encoding="utf-8")
    (made / "settings.md").write_text(reference.settings(), encoding="utf-8")
    (made / "routes.md").write_text(reference.http(), encoding="utf-8")
    (made / "openapi.json").write_text(json.dumps(reference.openapi(), indent=1), encoding="utf-8")
    (made / "client.md").write_text(f"# Python client\n{CLIENT}\n\n::: trace_ocr\n", encoding="utf-8")
    parts = [f"## {title}\n\n::: {module}\n" for module, title in INTERFACES.items()]
    (made / "interfaces.md").write_text("# Interfaces\n" + "\n".join(parts), encoding="utf-8")
    man.mkdir()
    version = importlib.metadata.version("trace-ocr-batch")
    write_man_pages("trace-ocr", _loaded(), version=version, target_dir=str(man))


def _loaded() -> click.Group:
    """Return the program with all of its commands: ours are imported when they are asked for."""
    context = click.Context(cli)
    names = cli.list_commands(context)
    commands = [command for command in (cli.get_command(context, name) for name in names) if command]
    return click.Group("trace-ocr", commands=commands, help=cli.help, params=cli.params)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
