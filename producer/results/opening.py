"""Opens what finds the items of a job, and keeps it while the job stays as it is."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from contract.errors import JobStateError, ObjectMissingError
from contract.job import Job
from contract.storage.base import Version
from contract.workspace import Workspace
from producer.results.order import Order

KEPT = 8
"""Jobs whose order is kept open: that of 10,000,000 lines takes some 0.5 MB."""


@dataclass
class Orders:
    """The orders of the jobs that were asked for last; safe to share between threads."""

    _kept: "OrderedDict[str, tuple[Version, Order]]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, workspace: Workspace, job: Job) -> Order:
        """Return the order of a merged job; it is opened again once the job was merged again.

        Raises:
            JobStateError: the job was merged by a version that wrote none
            JobError: it is damaged
        """
        uri = workspace.order
        try:
            version = workspace.store.version(uri)
            with self._lock:
                kept = self._kept.get(uri)
            order = kept[1] if kept and kept[0] == version else Order(workspace.store, uri)
        except ObjectMissingError as error:
            raise JobStateError(
                f"job {job.id} was merged by an older version, which kept no order of its results: merge it "
                f"again with POST /jobs/{job.id}/corrections/apply, or with trace-ocr correct {job.id}"
            ) from error
        with self._lock:
            self._kept[uri] = version, order
            self._kept.move_to_end(uri)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return order
