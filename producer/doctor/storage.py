"""Storage: every allowed root can be listed, read and written, and refuses to write an object twice."""

import contextlib
import secrets
from collections.abc import Iterator

from contract.errors import TraceOcrError
from contract.storage import Storage, join
from contract.storage.roots import AllowedRoots, check_root
from contract.workspace import RESERVED
from producer.doctor.finding import Finding, bad, good

CONTENT = b"trace-ocr doctor"


def check_roots(roots: AllowedRoots, storage: Storage, *, write: bool) -> Iterator[Finding]:
    """Yield one finding for each root.

    Args:
        write: also create, create again, read and delete an object below each root
    """
    for root in roots:
        try:
            yield _check_root(root, storage, write=write)
        except TraceOcrError as error:
            yield bad(f"storage: {root}", str(error), "give this user access, or correct the root")


def _check_root(root: str, storage: Storage, *, write: bool) -> Finding:
    check, store = f"storage: {root}", storage.at(root)
    check_root(root, storage)
    if not write:
        return good(check, "can be listed")
    uri = join(root, RESERVED, f"doctor-{secrets.token_hex(8)}")
    try:
        first, second = store.create(uri, CONTENT), store.create(uri, CONTENT)
        read = store.read(uri, len(CONTENT))
    finally:
        with contextlib.suppress(TraceOcrError):
            store.delete(uri)
    if read != CONTENT:
        return bad(check, "an object that was written reads differently", "use another storage")
    if not first or second:
        return bad(
            check,
            "an object can be created twice: If-None-Match is ignored, so two workers could write one part",
            "use storage with conditional writes, as Amazon S3, MinIO, Ceph and versitygw are",
        )
    return good(check, "can be listed, read and written; creates nothing twice")
