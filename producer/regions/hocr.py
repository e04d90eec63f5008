"""hOCR in XHTML: boxes in titles, and texts as the content of elements.

Written after https://kba.github.io/hocr-spec/1.2/.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from contract.region import Level, Region, box_of
from producer.regions.base import (
    Names,
    OtherFormatError,
    PageRegions,
    Readable,
    RegionOptions,
    RegionText,
    Texts,
    Writable,
    is_pdf,
)
from producer.regions.outlines import Size, number, outline
from producer.regions.xml import Event, Vocabulary, events
from producer.regions.xml_copy import Copy, attribute, escaped, opened

VOCABULARY = Vocabulary(
    title="hOCR",
    root="html",
    namespaces=frozenset({"", "http://www.w3.org/1999/xhtml"}),
    versions="of XHTML",
    lenient=True,
)

PAGE = "ocr_page"

CLASSES: dict[Level, frozenset[str]] = {
    "word": frozenset({"ocrx_word"}),
    # Tesseract gives headings, captions and floats these classes in place of ocr_line.
    "line": frozenset({"ocr_line", "ocr_header", "ocr_caption", "ocr_textfloat"}),
    "region": frozenset({"ocr_carea"}),
}

LINES = CLASSES["line"] | {"ocr_par"}
"""What an area may hold that its own text must not replace."""

_IMAGE = re.compile(r"""(?:^|;)\s*image\s+(?:"([^"]*)"|'([^']*)'|([^;]*))""")
_BOX = re.compile(r"(?:^|;)\s*bbox\s+([^;]*)")
_PAGE_NUMBER = re.compile(r"(?:^|;)\s*ppageno\s+([0-9]{1,9})")
_CONFIDENCE = re.compile(r"(?<![^;\s])x_wconf\s+[^;]*")


class Hocr:
    """A file has any number of pages."""

    extensions = frozenset({".hocr", ".html", ".htm", ".xhtml"})
    levels: tuple[Level, ...] = ("word", "line", "region")
    has_categories = False
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the file's pages."""
        found, pages = events(file, VOCABULARY), _Pages()
        for event in found:
            if pages.begins(event):
                regions = self._regions(found, options, pages)
                yield PageRegions(pages.image, regions, pages.number)
                for _ in regions:
                    pass
        pages.check()

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with texts as the content of elements, and their x_wconf.

        A line's text replaces its words. An area with lines has no place for a text of its own.
        """
        copy, pages = Copy(file, target), _Pages()
        found = events(copy, VOCABULARY)
        for page in found:
            copy.keep(page.start)
            if pages.begins(page):
                for event, one in _walk(found, options, pages):
                    if one is None:
                        copy.keep(event.start)
                    elif one.ends(event) and not one.has_lines:
                        text = texts(pages.image, pages.number, one.name)
                        if text:
                            _write(one.begin, event, text, copy)
        copy.keep()
        pages.check()

    def _regions(self, found: Iterator[Event], options: RegionOptions, pages: "_Pages") -> Iterator[Region]:
        for event, one in _walk(found, options, pages):
            if one and event is one.begin:
                yield _region(one, pages.size)


FORMAT = Hocr()


@dataclass
class _Open:
    """A region whose element is open; `has_lines`: lines or paragraphs are in it, besides itself."""

    name: str
    begin: Event
    has_lines: bool = False

    def ends(self, event: Event) -> bool:
        return not event.starts and event.depth == self.begin.depth


class _Pages:
    """The page that is open. Its number counts only for documents."""

    def __init__(self) -> None:
        self._count = 0
        self.image, self.number = "", 1
        self.size: Size | None = None
        self._depth = 0
        self._of_image: Counter[str] = Counter()

    def check(self) -> None:
        """Raise OtherFormatError at the end of a file that has no page."""
        if not self._count:
            raise OtherFormatError(f"it has no element of the class {PAGE}, so it is no hOCR")

    def begins(self, event: Event) -> bool:
        """Return whether the event begins a page; it is then the one that is open."""
        if not event.starts or PAGE not in _classes(event):
            return False
        title = event.attributes.get("title", "")
        image = _IMAGE.search(title)
        self.image = next(filter(None, image.groups()), "").strip() if image else ""
        self._count, self._depth = self._count + 1, event.depth
        self._of_image[self.image] += 1
        given = _PAGE_NUMBER.search(title)
        # Others than PDFs are often single files of a book, whose pages ppageno counts.
        self.number = int(given[1]) + 1 if given and is_pdf(self.image) else self._of_image[self.image]
        # Without a name, as docTR leaves it, the image may be a PDF.
        self.size = _size(title) if is_pdf(self.image) or not self.image else None
        return True

    def ends(self, event: Event) -> bool:
        """Return whether the event ends the page."""
        return not event.starts and event.depth == self._depth


def _walk(
    found: Iterator[Event], options: RegionOptions, pages: _Pages
) -> Iterator[tuple[Event, _Open | None]]:
    """Yield each event of a page with the outermost region that is open."""
    classes = CLASSES[options.level or "word"]
    names, one = Names(), None
    for event in found:
        given = _classes(event) if event.starts else frozenset()
        if one and given & LINES:
            one.has_lines = classes == CLASSES["region"]
        elif one is None and given & classes:
            one = _Open(names.next(event.attributes.get("id")), event)
        yield event, one
        if one and one.ends(event):
            one = None
        if pages.ends(event):
            return


def _classes(event: Event) -> frozenset[str]:
    return frozenset(event.attributes.get("class", "").split())


def _numbers(title: str) -> list[float | str]:
    found = _BOX.search(title)
    return [number(one) for one in found[1].split()] if found else []


def _size(title: str) -> Size | None:
    numbers = _numbers(title)
    right, lower = numbers[2:4] if len(numbers) == 4 else (0.0, 0.0)
    known = isinstance(right, float) and isinstance(lower, float) and right > 0 and lower > 0
    return (float(right), float(lower)) if known else None


def _region(one: _Open, size: Size | None) -> Region:
    numbers = _numbers(one.begin.attributes.get("title", ""))
    if not numbers:
        return Region(name=one.name, fault="its title has no bbox")
    box = box_of(numbers, name=one.name)
    return outline(box.corners, one.name, size) if size and not box.fault else box


def _write(begin: Event, end: Event, text: RegionText, copy: Copy) -> None:
    given = copy.raw(begin.start, begin.end)
    title, confidence = begin.attributes.get("title", ""), f"x_wconf {round(100 * text.confidence)}"
    title, found = _CONFIDENCE.subn(confidence, title, count=1)
    tag = opened(attribute(given, "title", title if found else f"{title}; {confidence}"))
    closed = f"</{begin.prefix}{begin.name}>" if given.endswith("/>") else ""
    copy.replace(begin.start, end.start, f"{tag}{escaped(text.value)}{closed}")
