"""The repository's pages in Markdown: which there are, and where the links in them lead."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

PATTERNS = (
    "*.md",
    "docs/**/*.md",
    "deploy/**/*.md",
    "examples/*.md",
    "benchmarks/results/*.md",
)
"""The pages of the site, relative to the repository."""

_FENCED = re.compile(r"^(```+).*?^\1", re.MULTILINE | re.DOTALL)

_CODE = re.compile(r"`[^`\n]*`")

LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\((?P<target>[^)\s]+)\)")

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages(repository: Path) -> list[Path]:
    """Return the pages."""
    return sorted({path for pattern in PATTERNS for path in repository.glob(pattern)})


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = _HEADING.findall(_FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def targets(text: str) -> Iterator[str]:
    """Yield where the links of a page lead that are not to other sites."""
    for found in LINK.finditer(_CODE.sub("", _FENCED.sub("", text))):
        inner = LINK.search(found["text"])
        for target in (found["target"], *([inner["target"]] if inner else ())):
            if not re.match(r"[a-z]+:", target):
                yield unquote(target)


def _anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for target in targets(text):
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in _anchors_of(place)):
            found.append(target)
    return found


PICTURES = frozenset({".png", ".svg", ".jpg"})


def copy_pages(repository: Path, folder: Path) -> None:
    """Copy the pages with their pictures; of links to what is no page, such as code, only the text stays."""
    there = set(pages(repository))
    for page in sorted(there):
        text = page.read_text(encoding="utf-8")
        for target in targets(text):
            place = (page.parent / target.partition("#")[0]).resolve()
            if place.suffix in PICTURES:
                _copied(place, folder / place.relative_to(repository)).write_bytes(place.read_bytes())
        copy = _copied(page, folder / page.relative_to(repository))
        copy.write_text(_without_code(text, page, there), encoding="utf-8")


def _copied(place: Path, copy: Path) -> Path:
    assert place.is_file(), place
    copy.parent.mkdir(parents=True, exist_ok=True)
    return copy


def _without_code(text: str, page: Path, there: set[Path]) -> str:
    def replaced(found: re.Match[str]) -> str:
        target = unquote(found["target"])
        place = (page.parent / target.partition("#")[0]).resolve()
        outside = re.match(r"[a-z]+:", target) or target.startswith("#")
        stays = outside or place in there or place.suffix in PICTURES
        return found[0] if stays else found["text"]

    return LINK.sub(replaced, text)
