"""Pictures of items for viewers, drawn in child processes: a file may crash or hang its decoder."""

import msgspec

from contract.child_processes import ChildPool, ChildProcess
from contract.errors import ChildCrashedError, ChildTimedOutError, ErrorCode, ItemError
from contract.job import Job
from contract.kinds.documents import PDF_RESOLUTION
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results.picture_program import Reply, Request
from producer.results.picturing import local_file

PROCESSES = 2
"""Pictures drawn at once; a further one waits. Copies of remote documents are bounded with them."""

LEAST_SIDE, MOST_SIDE = 32, 4000
"""Pixels of a picture's longer side."""

MOST_MEMORY = 768 << 20
"""Memory limit in bytes of a child: with two, an API in a container of 2 GiB has room. A page of 100 million
pixels takes 300 MB, and as much again while it is converted."""

MAX_JPEG = 32 << 20
"""Maximum bytes of a picture: some bytes for each pixel of the largest are ten times what JPEG takes."""


class PictureDesk:
    """Draws pictures of items; safe to share between threads.

    Args:
        settings: limits of files, pixels, seconds and memory, as those of workers
    """

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage, self._settings = storage, settings
        arguments = settings.max_pixels, min(settings.decode_memory, MOST_MEMORY)
        module = "producer.results.picture_program"
        self._children = ChildPool(
            lambda: ChildProcess(module, *arguments, max_reply=MAX_JPEG), most=PROCESSES
        )

    def close(self) -> None:
        """End the processes."""
        self._children.close()

    def jpeg(self, item: Item, job: Job, roots: AllowedRoots, side: int, *, cut: bool = False) -> bytes:
        """Return an item's page or image as a JPEG, no side longer than `side` pixels.

        Args:
            roots: the roots of the job's items
            cut: only the item's region, if it has one

        Raises:
            StorageError, ItemError: the file cannot be read or drawn
        """
        region = item.region if cut else None
        # Jobs of crops of older versions have no such parameters.
        resolution = getattr(job.parameters, "pdf_resolution", PDF_RESOLUTION)
        forms = getattr(job.parameters, "pdf_forms", True)
        with self._children.lent() as child, local_file(item, self._storage, self._settings, roots) as path:
            request = Request(str(path), item.page or 1, resolution, forms, side, region)
            try:
                reply, data = self._ask(child, request)
            except ChildTimedOutError as error:
                raise ItemError(ErrorCode.TIMED_OUT, f"drawing {item.id} {error}") from error
            except ChildCrashedError as error:
                raise ItemError(ErrorCode.WORKER_CRASHED, f"drawing {item.id} {error}") from error
        if reply.code is not None:
            raise ItemError(reply.code, reply.message)
        return data

    def _ask(self, child: ChildProcess, request: Request) -> tuple[Reply, bytes]:
        try:
            reply, data = child.ask(request, Reply, self._settings.decode_seconds)
        except ChildCrashedError:
            if not request.forms:
                raise
            # As workers do: form fields may crash pdfium on a page that is sound without them.
            without = msgspec.structs.replace(request, forms=False)
            reply, data = child.ask(without, Reply, self._settings.decode_seconds)
        return reply, bytes(data)
