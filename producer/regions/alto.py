"""ALTO, versions 2 to 4: blocks, lines and strings; texts in the CONTENT of strings.

Written after the schemas of https://www.loc.gov/standards/alto/.
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
from producer.regions.outlines import Size, corners_in, corners_of_box, number, outline, upright
from producer.regions.xml import Event, Vocabulary, events
from producer.regions.xml_copy import Copy, attribute, opened, without

VOCABULARY = Vocabulary(
    title="ALTO",
    root="alto",
    namespaces=frozenset(f"http://www.loc.gov/standards/alto/ns-v{version}#" for version in (2, 3, 4)),
    versions="2 to 4",
)

ELEMENTS: dict[Level, str] = {"line": "TextLine", "word": "String", "region": "TextBlock"}

PIXEL = "pixel"

OTHER_UNITS = ("mm10", "inch1200")
"""Tenths of a millimetre and 1/1200 of an inch: turned into pixels by the page's size in them."""

BOX = ("HPOS", "VPOS", "WIDTH", "HEIGHT")


class Alto:
    """A file has a page, or the pages of one document."""

    extensions = frozenset({".xml"})
    levels: tuple[Level, ...] = ("line", "word", "region")
    has_categories = False
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the file's pages."""
        reading = _Reading()
        found = events(file, VOCABULARY)
        for event in found:
            reading.note(event)
            if event.starts and event.name == "Page":
                regions = self._regions(found, options, reading)
                yield from read_whole(PageRegions(reading.image, regions, reading.page))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with texts in strings.

        A line's text becomes one string in place of all that the line has. A block with lines has no place
        for a text of its own; one without gets a line.
        """
        copy, reading = Copy(file, target), _Reading()
        found = events(copy, VOCABULARY)
        for page in found:
            copy.keep(page.start)
            reading.note(page)
            if page.starts and page.name == "Page":
                for event, one in _walk(found, options):
                    if one is None:
                        copy.keep(event.start)
                        continue
                    one.look_at(event, copy)
                    if one.ends(event) and one.has_place:
                        text = texts(reading.image, reading.page, one.name)
                        if text:
                            _write(one, text, copy)
        copy.keep()

    def _regions(
        self, found: Iterator[Event], options: RegionOptions, reading: "_Reading"
    ) -> Iterator[Region]:
        for event, one in _walk(found, options):
            if one is None:
                continue
            if event.starts and event.name == "Polygon" and event.depth == one.begin.depth + 2:
                one.points = one.points or event.attributes.get("POINTS", "")
            elif one.ends(event):
                yield reading.region(one)


FORMAT = Alto()


@dataclass
class _Open:
    """A region whose element is open.

    Args:
        points: its polygon, if it has one
        before: where its Shape ended
        indent: what stands before its first child
        first: the tag that began its first child but Shape
        count: children but Shape
        child_end: where the last child ended
    """

    name: str
    begin: Event
    points: str = ""
    before: int = 0
    indent: str = ""
    first: Event | None = None
    count: int = 0
    child_end: int = 0

    def ends(self, event: Event) -> bool:
        return not event.starts and event.depth == self.begin.depth

    @property
    def has_place(self) -> bool:
        """Whether the region has a place for a text, as far as it is read."""
        return self.begin.name != "TextBlock" or self.first is None

    def look_at(self, event: Event, copy: Copy) -> None:
        """Note where the children are."""
        if event.depth != self.begin.depth + 1:
            return
        if event.starts and not self.child_end:
            space = copy.raw(self.begin.end, event.start)
            self.indent = "" if space.strip() else space
        if event.name == "Shape":
            self.before = event.end
        elif event.starts:
            self.count += 1
            self.first = self.first or event
        self.child_end = event.end


class _Reading:
    """What a file says before a page: its image and unit; and the page."""

    def __init__(self) -> None:
        self.image, self.page = "", 1
        self._unit = PIXEL
        self._size: Size | None = None
        self._count, self._first = 0, 1

    def note(self, event: Event) -> None:
        """Take what an element says."""
        if event.starts and event.name == "Page":
            self._begin(event.attributes)
        elif not event.starts and event.name == "fileName" and not self.image:
            self.image = event.text.strip()
        elif not event.starts and event.name == "MeasurementUnit":
            self._unit = event.text.strip()

    def region(self, one: _Open) -> Region:
        """Return the region of an element."""
        if self._unit not in (PIXEL, *OTHER_UNITS):
            return Region(name=one.name, fault=f"the unit {self._unit[:20]!r} is not known")
        in_shares = self._unit != PIXEL or is_pdf(self.image)
        if self._unit != PIXEL and not self._size:
            return Region(
                name=one.name, fault=f"its page has no size in {self._unit}, so its pixels are unknown"
            )
        box = [one.begin.attributes.get(name, "") for name in BOX]
        if not one.points and "" in box:
            return Region(name=one.name, fault=f"it has no Polygon, and not all of {', '.join(BOX)}")
        corners = upright(corners_in(one.points)) if one.points else corners_of_box(*box)
        return outline(corners, one.name, self._size if in_shares else None)

    def _begin(self, attributes: dict[str, str]) -> None:
        width, height = (number(attributes.get(name, "")) for name in ("WIDTH", "HEIGHT"))
        known = isinstance(width, float) and isinstance(height, float) and width > 0 and height > 0
        self._size = (float(width), float(height)) if known else None
        given = attributes.get("PHYSICAL_IMG_NR", "")
        place = int(given) if given.isdecimal() and len(given) < 10 else self._count + 1
        if not self._count:
            # Some programs count from 0.
            self._first = min(place, 1)
        self._count += 1
        self.page = place + 1 - self._first if is_pdf(self.image) else self._count


def _walk(found: Iterator[Event], options: RegionOptions) -> Iterator[tuple[Event, _Open | None]]:
    """Yield each event of a page with the region that is open: those of one level do not nest."""
    element = ELEMENTS[options.level or "line"]
    names, one = Names(), None
    for event in found:
        if event.starts and event.name == element and one is None:
            one = _Open(names.next(event.attributes.get("ID")), event)
        yield event, one
        if one and one.ends(event):
            one = None
        elif not event.starts and event.name == "Page":
            return


def _write(one: _Open, text: RegionText, copy: Copy) -> None:
    """Write a text into a region that ends."""
    begin = one.begin
    tag = copy.raw(begin.start, begin.end)
    box = {name: begin.attributes[name] for name in BOX if name in begin.attributes}
    if begin.name == "String":
        copy.replace(begin.start, begin.end, _string(tag, text))
        return
    string = _string(f"<{begin.prefix}String/>", text, box)
    if begin.name == "TextBlock":
        line = opened(_boxed(f"<{begin.prefix}TextLine/>", box))
        string = f"{line}{string}</{begin.prefix}TextLine>"
    if tag.endswith("/>"):
        copy.replace(begin.start, begin.end, f"{opened(tag)}{string}</{begin.prefix}{begin.name}>")
    elif one.first is None:
        place = one.before or begin.end
        copy.replace(place, place, one.indent + string)
    else:
        _replace_content(one, one.first, text, box, copy)


def _replace_content(one: _Open, first: Event, text: RegionText, box: dict[str, str], copy: Copy) -> None:
    """Write a line's text into its only string, or in place of its strings."""
    if first.name != "String":
        copy.replace(first.start, one.child_end, _string(f"<{one.begin.prefix}String/>", text, box))
        return
    tag = copy.raw(first.start, first.end)
    if one.count == 1:
        copy.replace(first.start, first.end, _string(tag, text))
    else:
        closed = opened(tag).removesuffix(">") + "/>"
        copy.replace(first.start, one.child_end, _string(closed, text, box))


def _string(tag: str, text: RegionText, box: dict[str, str] | None = None) -> str:
    """Return a String's tag with a text, and without what was said of the characters of another one."""
    for name in ("CC", "SUBS_TYPE", "SUBS_CONTENT"):
        tag = without(tag, name)
    tag = _boxed(attribute(tag, "CONTENT", text.value), box or {})
    return attribute(tag, "WC", f"{text.confidence:.4f}")


def _boxed(tag: str, box: dict[str, str]) -> str:
    for name, value in box.items():
        tag = attribute(tag, name, value)
    return tag
