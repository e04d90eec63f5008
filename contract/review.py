"""What the HTTP API and the public client say of single results, for people who check them.

Standard library only, since the public client imports it.
"""

from dataclasses import dataclass
from typing import Literal

Order = Literal["confidence", "source"]
"""In which order results are listed: the least certain first, or as in the source."""


@dataclass(frozen=True)
class ItemFailure:
    """Why an item has no result."""

    code: str
    message: str


@dataclass(frozen=True)
class ReviewWord:
    """One word of a page: its number in reading order, and its box or polygon, relative to the page.

    `value_read` is what the model read, and `corrected_by` who has corrected it, if anybody has.
    """

    index: int
    geometry: tuple[float, ...]
    value: str
    confidence: float | None
    value_read: str | None = None
    corrected_by: str | None = None


@dataclass(frozen=True)
class ReviewItem:
    """One item: what was read, or why nothing was.

    `chunk` and `index` are its place in the job, by which its picture is asked for. `confidence` is in 0..1;
    of a page that of its least certain word; None if it has no text or failed. The `value` of a page is the
    beginning of its text in a listing. `words` are a page's, if a single item is asked for. `value_read` and
    `corrected_by` are as in `ReviewWord`; None for a page, whose words have their own.
    """

    id: str
    value: str
    confidence: float | None
    chunk: int
    index: int
    label: str | None = None
    note: str | None = None
    value_read: str | None = None
    corrected_by: str | None = None
    error: ItemFailure | None = None
    words: tuple[ReviewWord, ...] = ()


@dataclass(frozen=True)
class ReviewPage:
    """Some items. With a `cursor` there may be more: a search looks at a bounded part of the lines at once,
    and may return few items or none before it has looked at all.

    `searched` is the share of the lines that was looked at so far, in 0..1; None in the order of confidence.
    """

    data: tuple[ReviewItem, ...]
    order: Order
    cursor: str | None = None
    searched: float | None = None
