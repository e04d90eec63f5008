"""A child that draws pictures: `python -P -m producer.results.picture_program MAX_PIXELS MAX_MEMORY`."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import msgspec
from PIL import Image

from contract.child_processes import serve
from contract.errors import ErrorCode, ItemError
from contract.frames import Data
from contract.pages import TiffReader
from contract.region import Region
from producer.results.picturing import box_of_region, jpeg, picture_of_page


class Request(msgspec.Struct, frozen=True):
    """What to draw: a page of a local file, counted from 1, or a region of it.

    `side` is the longest side of the picture, in pixels.
    """

    path: str
    page: int
    resolution: int
    forms: bool
    side: int
    region: Region | None = None


class Reply(msgspec.Struct):
    """Nothing but the JPEG that follows, or why there is none."""

    code: ErrorCode | None = None
    message: str = ""


@dataclass(frozen=True)
class Drawing:
    """Answers requests, one at a time.

    Args:
        max_pixels: maximum pixels of one page
        max_memory: memory limit of this process in bytes, for the message
    """

    max_pixels: int
    max_memory: int
    tiffs: TiffReader

    def __call__(self, request: Request, _: Data) -> tuple[Reply, bytes]:
        """Return the reply, and the picture as JPEG."""
        try:
            return Reply(), self._jpeg(request)
        except ItemError as error:
            return Reply(error.code, error.message), b""
        except MemoryError:
            message = f"drawing it needs more than {self.max_memory:,} bytes: open the file itself"
            return Reply(ErrorCode.WORKER_CRASHED, message), b""

    def _jpeg(self, request: Request) -> bytes:
        number, resolution, forms = request.page, request.resolution, request.forms
        image = picture_of_page(
            Path(request.path), number, resolution, self.tiffs, self.max_pixels, forms=forms
        )
        if request.region is not None:
            image = _cut(image, request.region)
        image.thumbnail((request.side, request.side))
        return jpeg(image.convert("RGB"))


def _cut(page: Image.Image, region: Region) -> Image.Image:
    box = box_of_region(region, page.width, page.height)
    if box is None:
        raise ItemError(ErrorCode.BAD_REGION, "the page does not have this region")
    return page.crop(box)


def main() -> None:
    """Serve until the parent closes the connection."""
    # What is damaged is said by the item's own error; Pillow's warnings add nothing.
    warnings.simplefilter("ignore")
    max_pixels, max_memory = map(int, sys.argv[1:])
    serve(Request, Drawing(max_pixels, max_memory, TiffReader(max_pixels)), max_memory)


if __name__ == "__main__":
    main()
