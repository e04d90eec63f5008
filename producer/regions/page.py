"""PAGE-XML of PRImA, versions 2013 to 2019: Coords of regions, lines and words, and their TextEquiv.

Written after the schemas of https://www.primaresearch.org/schema/PAGE/gts/pagecontent/.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contract.region import Level, Region
from producer.regions.base import (
    Names,
    PageRegions,
    Readable,
    RegionOptions,
    RegionText,
    Texts,
    Writable,
    is_pdf,
    read_whole,
)
from producer.regions.outlines import Size, corners_in, number, outline, upright
from producer.regions.xml import Event, Vocabulary, events
from producer.regions.xml_copy import Copy, attribute, escaped, opened

VERSIONS = ("2013-07-15", "2016-07-15", "2017-07-15", "2018-07-15", "2019-07-15")

VOCABULARY = Vocabulary(
    title="PAGE-XML",
    root="PcGts",
    namespaces=frozenset(
        f"http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}" for version in VERSIONS
    ),
    versions="2013-07-15 to 2019-07-15",
)

ELEMENTS: dict[Level, str] = {"line": "TextLine", "word": "Word", "region": "TextRegion"}

AFTER_TEXT: dict[Level, tuple[str, ...]] = {
    "line": ("TextStyle", "UserDefined", "Labels"),
    "word": ("TextStyle", "UserDefined", "Labels"),
    "region": ("TextStyle",),
}
"""Children that come after an element's text."""


class Page:
    """One page per file."""

    extensions = frozenset({".xml"})
    levels: tuple[Level, ...] = ("line", "word", "region")
    has_categories = False
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the file's page."""
        found = events(file, VOCABULARY)
        for event in found:
            if event.starts and event.name == "Page":
                regions = self._regions(found, options, _size(event))
                yield from read_whole(PageRegions(event.attributes.get("imageFilename", ""), regions))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with each region's first TextEquiv replaced, or one added."""
        copy, later = Copy(file, target), AFTER_TEXT[options.level or self.levels[0]]
        found = events(copy, VOCABULARY)
        for page in found:
            copy.keep(page.start)
            if page.starts and page.name == "Page":
                image = page.attributes.get("imageFilename", "")
                for event, ones in _walk(found, options):
                    for one in ones:
                        if event is one.begin:
                            one.text = texts(image, None, one.name)
                        elif one.text:
                            _write(event, one, one.text, later, copy)
                    if not ones:
                        copy.keep(event.start)
        copy.keep()

    def _regions(self, found: Iterator[Event], options: RegionOptions, size: Size | None) -> Iterator[Region]:
        for event, ones in _walk(found, options):
            one = ones[-1] if ones else None
            if one and event.starts and event.name == "Coords" and one.is_parent(event):
                one.has_outline = True
                corners = upright(corners_in(event.attributes.get("points", "")))
                yield outline(corners, one.name, size)
            elif one and one.ends(event) and not one.has_outline:
                yield Region(name=one.name, fault="it has no Coords")


FORMAT = Page()


@dataclass
class _Open:
    """A region whose element is open.

    Args:
        begin: the tag that began it
        text: what is written into it, until it is
        child: the tag that began its last child
        child_end: where its last child ended
        indent: what stands before its children
    """

    name: str
    begin: Event
    has_outline: bool = False
    text: RegionText | None = None
    child: Event | None = None
    child_end: int = 0
    indent: str = ""

    def ends(self, event: Event) -> bool:
        return not event.starts and event.depth == self.begin.depth

    def is_parent(self, event: Event) -> bool:
        return event.depth == self.begin.depth + 1


def _walk(found: Iterator[Event], options: RegionOptions) -> Iterator[tuple[Event, list[_Open]]]:
    """Yield each event of a page with the regions that are open, outermost first."""
    element = ELEMENTS[options.level or "line"]
    names, ones = Names(), list[_Open]()
    for event in found:
        if event.starts and event.name == element:
            ones.append(_Open(names.next(event.attributes.get("id")), event))
        yield event, ones
        if ones and ones[-1].ends(event):
            ones.pop()
        elif not event.starts and event.name == "Page":
            return


def _write(event: Event, one: _Open, text: RegionText, later: tuple[str, ...], copy: Copy) -> None:
    """Write a region's text in its first TextEquiv, or where one belongs."""
    is_child = one.is_parent(event)
    if one.ends(event) or (is_child and event.starts and event.name in later):
        if one.child_end:
            added = _equiv(f"<{one.begin.prefix}TextEquiv>", text, one.begin.prefix)
            copy.replace(one.child_end, one.child_end, one.indent + added)
        one.text = None
    elif is_child and event.starts:
        before = copy.raw(one.child_end or one.begin.end, event.start)
        one.indent = "" if before.strip() else before
        one.child = event
    elif is_child and event.name == "TextEquiv" and one.child and copy.holds(one.child.start):
        tag = copy.raw(one.child.start, one.child.end)
        copy.replace(one.child.start, event.end, _equiv(tag, text, one.child.prefix))
        one.text = None
    elif is_child:
        one.child_end = event.end


def _equiv(tag: str, text: RegionText, prefix: str) -> str:
    """Return a TextEquiv from the tag that begins it."""
    begin = opened(attribute(tag, "conf", f"{text.confidence:.4f}"))
    unicode = f"{prefix}Unicode"
    return f"{begin}<{unicode}>{escaped(text.value)}</{unicode}></{prefix}TextEquiv>"


def _size(page: Event) -> Size | None:
    """Return the size of a PDF's page, whose pixels are of our making; an image has pixels of its own."""
    if not is_pdf(page.attributes.get("imageFilename", "")):
        return None
    width, height = (number(page.attributes.get(name, "")) for name in ("imageWidth", "imageHeight"))
    return (
        None if isinstance(width, str) or isinstance(height, str) or not width * height else (width, height)
    )
