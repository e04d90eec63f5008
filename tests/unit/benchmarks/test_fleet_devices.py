"""The simulated devices of `python -m benchmarks fleet` read chunks by the product's own code."""

from typing import Any

import fakeredis
import pytest

from benchmarks.fleet_devices import Device, NullPipeline
from contract.broker.ledger import Ledger
from contract.job import Job, Plan
from contract.lines import encode_line
from contract.records import Item
from contract.settings import Settings
from contract.workspace import Workspace
from worker.app.tasks import run_message


def test_a_simulated_device_reads_a_chunk(
    job: Job,
    workspace: Workspace,
    settings: Settings,
    ledger: Ledger,
    fake_redis: fakeredis.FakeRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a running job of one chunk, and a device whose forward takes no time
    app: Any = None
    device = Device("fleet-0@fleet", 0.0, settings, app, fake_redis)
    monkeypatch.setattr("worker.jobs.chunk.make_pipeline", lambda *made_of: NullPipeline(made_of[-1]))
    workspace.save_job(job.model_copy(update={"plan": Plan(chunks=1, items=2)}))
    items = [Item(f"{name}.png", f"{job.source.uri}/{name}.png") for name in "ab"]
    workspace.store.create(workspace.chunk(0), b"".join(map(encode_line, items)))
    ledger.open(job.id, workspace.root, "recognition", job.source.uri, job.created_at)
    ledger.plan_done(job.id, 1, 2)

    shown = run_message(
        "recognition",
        (),
        {"job": job.id, "workspace": workspace.root, "chunk": 0},
        device.context,
        lambda: None,
    )

    assert shown["ok"] == 2
    assert len(list(workspace.lines(workspace.part(0)))) == 2
