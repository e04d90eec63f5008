"""Faults that no outside signal can cause, injected at the edge of the operating system or of a library.

Python imports this module at the start of every process whose PYTHONPATH holds this folder. FAULTS names the
faults; the product has no switch for them.
"""

import os
import sys
import time
import traceback
from pathlib import Path

CRASH, FLOOD, HANG = b"poison:crash", b"poison:flood", b"poison:hang"
FULL_DISK_WRITES = 3


def poison() -> None:
    """Given a decoder with three bugs: files that hold a marker crash, flood or hang it."""
    import signal

    from PIL import Image

    real = Image.open

    def open_poisoned(file, *args, **options):  # type: ignore[no-untyped-def]
        data = file.read_bytes() if isinstance(file, Path) else file.getvalue()
        if CRASH in data:
            os.kill(os.getpid(), signal.SIGSEGV)
        if FLOOD in data and "spawn_main" in " ".join(sys.orig_argv):
            bytearray(1 << 40)  # under the child's limit this is a MemoryError
        elif FLOOD in data:
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does to a worker without one
        if HANG in data:
            time.sleep(3600)
        return real(file, *args, **options)

    Image.open = open_poisoned


def slow_merge() -> None:
    """Given a disk on which merging 33 parts takes seconds."""
    from producer.results.quality import Quality

    real = Quality.add

    def add(*arguments):  # type: ignore[no-untyped-def]
        time.sleep(0.1)
        return real(*arguments)

    Quality.add = add


def slow_plan() -> None:
    """Given storage on which writing a chunk takes a while."""
    import producer.planning.plan

    real = producer.planning.plan.write_chunk

    def write_chunk(*arguments):  # type: ignore[no-untyped-def]
        time.sleep(0.2)
        return real(*arguments)

    producer.planning.plan.write_chunk = write_chunk


def impatient_planner() -> None:
    """Given a planner that takes up abandoned plans after seconds where the product waits a minute."""
    import producer.planning.planner

    producer.planning.planner.ABANDONED_SECONDS, producer.planning.planner.LOOK_SECONDS = 2.0, 0.5


def full_disk() -> None:
    """Given a disk that is full for the first few writes of parts."""
    import errno

    real, failed = os.link, []

    def link(source, target, **options):  # type: ignore[no-untyped-def]
        # The product names files within an open folder.
        folder = Path(f"/proc/self/fd/{options['dst_dir_fd']}").readlink()
        if folder.name == "parts" and len(failed) < FULL_DISK_WRITES:
            failed.append(target)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target, **options)

    os.link = link


def stepping_clock() -> None:
    """Given a clock that steps by as many seconds as the file CLOCK_FILE says."""
    real, path = time.time, Path(os.environ["CLOCK_FILE"])
    time.time = lambda: real() + float(path.read_text() or 0)


def impatient_s3() -> None:
    """Given an S3 client that waits a second where the product waits a minute: it has no setting for that."""
    import contract.storage.asking

    contract.storage.asking.READ_SECONDS = 1


def early_mark() -> None:
    """Given a worker that marks a chunk as done before it is read: what the product must not do."""
    import worker.jobs.chunk
    from contract.records import PartOutcome

    real = worker.jobs.chunk._read_and_write

    def mark_then_read(workspace, job, chunk, attempt, context, on_progress):  # type: ignore[no-untyped-def]
        context.ledger.mark(job.id, chunk, PartOutcome(0, 0))
        real(workspace, job, chunk, attempt, context, on_progress)

    worker.jobs.chunk._read_and_write = mark_then_read


for name in filter(None, os.environ.get("FAULTS", "").split(",")):
    try:
        globals()[name]()
    # Python would start without the fault, and the row would prove nothing.
    except Exception:
        traceback.print_exc()
        os._exit(70)
