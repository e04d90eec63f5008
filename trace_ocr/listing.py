"""Lists that the API gives page by page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from trace_ocr.exchange import Api, Flow, Request

T = TypeVar("T")


class Listing(Generic[T]):
    """A list, page by page; `more` says whether there may be a further page.

    Args:
        path: below the API's URL
        asked: the query of every page
        page: the type of a page, whose `data` is what is on it
        following: returns what the query of the next page adds, empty after the last one
    """

    def __init__(
        self,
        api: Api,
        path: str,
        asked: Mapping[str, str | list[str]],
        page: type[Any],
        following: Callable[[Any], Mapping[str, str]],
    ) -> None:
        self.more = True
        self._api, self._path, self._asked, self._type = api, path, dict(asked), page
        self._following = following

    def page(self) -> Flow[Sequence[T]]:
        """Return the next page. It may be empty and not the last: the server looks at so many at once."""
        page = yield from self._api.call(Request("GET", self._path, {"params": self._asked}), self._type)
        following = self._following(page)
        self.more = bool(following)
        self._asked.update(following)
        found: Sequence[T] = page.data
        return found
