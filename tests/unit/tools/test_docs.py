"""The pages of the documentation: every link leads to a file and a heading that is there."""

import re
import tomllib
from pathlib import Path

import yaml

from contract.settings import Settings
from producer.cli.main import cli
from tools.docs import reference
from tools.docs.pages import anchors, broken, pages, targets

REPOSITORY = Path(__file__).resolve().parents[3]


def test_every_link_leads_somewhere() -> None:
    found = {str(page.relative_to(REPOSITORY)): broken(page) for page in pages(REPOSITORY)}

    assert len(found) > 40
    assert {page: links for page, links in found.items() if links} == {}


def test_every_page_is_reached_from_the_readme() -> None:
    start = REPOSITORY / "README.md"
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for target in targets(page.read_text(encoding="utf-8")):
            place = (page.parent / target.partition("#")[0]).resolve()
            if place.suffix == ".md" and place.is_file() and place not in seen:
                seen.add(place)
                waiting.append(place)

    assert sorted(str(page.relative_to(REPOSITORY)) for page in set(pages(REPOSITORY)) - seen) == []


def test_the_site_names_each_page_once() -> None:
    nav = (REPOSITORY / "tools" / "docs" / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]

    named = re.findall(r": (\S+\.md)$", nav, re.MULTILINE)

    assert len(named) > 20
    assert [page for page in named if named.count(page) > 1] == []


def test_the_reference_has_every_command_setting_and_route() -> None:
    settings, commands, routes = reference.settings(), reference.commands(), reference.http()

    assert [name for name in Settings.model_fields if f"| `{name}`<br>" not in settings] == []
    assert [name for name in cli.places if f"\n## trace-ocr {name}\n" not in commands] == []
    assert "### trace-ocr models check\n" in commands
    assert {"## POST /jobs\n", "## GET /health\n", "## POST /recognition/\n"} <= {
        line + "\n" for line in routes.splitlines()
    }


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    dated = re.search(r"^## \[([\d.]+)\] - (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert dated
    assert (citation["version"], citation["date-released"]) == (project["version"], dated[2])
    assert dated[1] == project["version"]


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`: three\n[a](none.md) [b](#one-two-three) [c](#four) [d](page.md#one-two-three)\n"
        "[![e](no.svg)](page.md) [f](https://example.org/x.md)\n"
        "`[g](code.md)`\n```\n# five\n[h](code.md)\n```\n"
    )

    assert anchors(page.read_text()) == {"one-two-three"}
    assert sorted(broken(page)) == ["#four", "no.svg", "none.md"]
