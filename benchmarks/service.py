"""The product as users run it: Redis, a worker process under its launcher, control, files and fsyncs."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from contract.child_processes import python_module
from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Parameters
from contract.settings import Settings, environment_of
from contract.workspace import open_workspace
from producer.local.embedded import embedded_broker
from producer.planning.submit import submit_job
from producer.session import Session
from producer.sources.listing import identify_source

LOOK_SECONDS = 0.1
"""Seconds between looks for the end of a job, whose time its file tells."""


@dataclass(frozen=True)
class Service:
    """A cluster of one worker, which stays warm between jobs."""

    session: Session
    launcher: int

    def run(self, job: Job, out: Path) -> float:
        """Run a job to its `_SUCCESS`; return the seconds from listing its source."""
        workspace = open_workspace(str(out), self.session.storage)
        workspace.save_job(job)
        # By the clock that files' times have.
        started = time.time()
        listing = self.session.listing(job, sys.stdin.buffer)
        submit_job(job, workspace, listing, self.session.ledger, self.session.dispatcher)
        success = Path(workspace.success)
        # Seldom, and not by the store's look, which opens each folder on the path: looks take the processor
        # from the worker.
        while not success.exists():
            time.sleep(LOOK_SECONDS)
        return success.stat().st_mtime - started


def make_job(kind: str, parameters: Parameters, source: Path, out: Path) -> Job:
    """Return a job over a source with its kind's usual chunks; its id is the workspace's name."""
    return Job(
        id=out.name,
        kind=kind,
        parameters=parameters,
        source=identify_source(str(source)),
        chunk_size=KINDS[kind].chunk_size,
        created_at=int(time.time()),
    )


@contextlib.contextmanager
def serving(store: Path, *roots: Path, device: str = "cpu", **settings: Any) -> Iterator[Service]:
    """Serve with the weights of a model store; jobs and sources are below the roots.

    Args:
        device: the worker's setting `devices`
        settings: its other settings
    """
    with embedded_broker() as url:
        used = Settings(
            redis_url=SecretStr(url),
            allowed_roots=tuple(map(str, roots)),
            model_store=str(store),
            devices=device,
            **settings,
        )
        environment = {**os.environ, **environment_of(used)}
        worker = subprocess.Popen(python_module("worker.app.launcher"), env=environment)
        session, stop = Session(used), threading.Event()
        control = threading.Thread(target=session.control().run, args=(stop,))
        control.start()
        try:
            yield Service(session, worker.pid)
        finally:
            stop.set()
            worker.terminate()
            worker.wait()
            control.join()
