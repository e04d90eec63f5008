"""Opens what finds the items of a job and what was corrected, and keeps it while the job stays as it is."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from contract.errors import JobStateError, ObjectMissingError
from contract.job import Job
from contract.storage.base import Version
from contract.workspace import Workspace
from producer.results.corrections import Overlay, batch_uris, load, overlay_of
from producer.results.items import Items
from producer.results.order import Order

KEPT = 8
"""Jobs that are kept open: the order of 10,000,000 lines takes some 0.5 MB."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class _Kept(Generic[K, V]):
    """The last KEPT values by name, each as long as its state is the same."""

    values: "OrderedDict[str, tuple[K, V]]" = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str, state: K, make: Callable[[], V]) -> V:
        with self.lock:
            kept = self.values.get(name)
        value = kept[1] if kept and kept[0] == state else make()
        with self.lock:
            self.values[name] = state, value
            self.values.move_to_end(name)
            while len(self.values) > KEPT:
                self.values.popitem(last=False)
        return value


@dataclass
class OpenJobs:
    """What is needed of the jobs that were asked for last; safe to share between threads."""

    _orders: _Kept[Version, Order] = field(default_factory=_Kept)
    _overlays: _Kept[object, Overlay] = field(default_factory=_Kept)

    def items(self, workspace: Workspace, job: Job) -> Items:
        """Return the items of a merged job; raises as `order`."""
        return Items(workspace, job, self.order(workspace, job), self.overlay(workspace))

    def overlay(self, workspace: Workspace) -> Overlay:
        """Return the last correction of each text of a job."""
        store, uri = workspace.store, workspace.corrections
        batches = tuple(batch_uris(workspace))
        folded = store.version(uri) if store.exists(uri) else None
        return self._overlays.get(uri, (batches, folded), lambda: overlay_of(load(workspace)))

    def order(self, workspace: Workspace, job: Job) -> Order:
        """Return the order of a merged job; it is opened again once the job was merged again.

        Raises:
            JobStateError: the job was merged by a version that wrote none
            JobError: it is damaged
        """
        uri = workspace.order
        try:
            version = workspace.store.version(uri)
            return self._orders.get(uri, version, lambda: Order(workspace.store, uri))
        except ObjectMissingError as error:
            raise JobStateError(
                f"job {job.id} was merged by an older version, which kept no order of its results: merge it "
                f"again with POST /jobs/{job.id}/corrections/apply, or with trace-ocr correct {job.id}"
            ) from error
