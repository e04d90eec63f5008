"""Storage: every allowed root can be listed, read and written, and refuses to write an object twice."""

import contextlib
import secrets
import time
from collections.abc import Iterator

from contract.errors import TraceOcrError
from contract.layout import RESERVED
from contract.storage import Storage, join
from contract.storage.base import Store
from contract.storage.roots import AllowedRoots, check_root
from producer.doctor.finding import CLOCK_SECONDS, Finding, bad, doubtful, good

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
    return _check_writing(check, root, store) if write else good(check, "can be listed")


def _check_writing(check: str, root: str, store: Store) -> Finding:
    uri = join(root, RESERVED, f"doctor-{secrets.token_hex(8)}")
    try:
        first, second = store.create(uri, CONTENT), store.create(uri, CONTENT)
        ahead = store.version(uri).modified / 1e9 - time.time()
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
    if abs(ahead) > CLOCK_SECONDS:
        said = f"its clock differs from this machine's by {ahead:+.0f} s"
        return doubtful(
            check, said, "synchronise both: S3 refuses requests that are a quarter of an hour off"
        )
    return good(check, "can be listed, read and written; creates nothing twice")
