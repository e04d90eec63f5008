"""Read a few items on this machine to learn how fast the others will be read; nothing of it is kept."""

import io
from collections.abc import Sequence

from contract.counting import counted
from contract.errors import TraceOcrError
from contract.job import Job, new_job_id
from contract.lines import encode_lines
from contract.records import Item
from contract.scratch import scratch_folder
from contract.settings import Settings
from contract.states import State
from contract.workspace import open_workspace
from producer.local.run import OnStatus, run_job
from producer.planning.submit import settle_job
from producer.results.rates import Rate, rate_of
from producer.session import Session


def probe(
    job: Job, items: Sequence[Item], settings: Settings, environment: dict[str, str], on_status: OnStatus
) -> Rate:
    """Read the items as a job of their own, in a temporary workspace; return the rate.

    Args:
        job: the job whose rate is wanted
        environment, on_status: as for `run_job`

    Raises:
        TraceOcrError: the items could not be read
    """
    with scratch_folder() as folder:
        chosen = folder / "items.jsonl"
        chosen.write_bytes(encode_lines(items))
        workspace = open_workspace(str(chosen.parent / "out"), Session(settings).storage)
        source = job.source.model_copy(update={"chosen": str(chosen), "sample": None})
        wanted = job.model_copy(update={"id": new_job_id("probe"), "source": source, "exports": ()})
        status = run_job(
            settle_job(wanted, workspace), workspace, settings, environment, io.BytesIO(), on_status
        )
        found = rate_of(job, workspace.load_summary() or {}) if status.status is State.COMPLETED else None
    if found is None:
        raise TraceOcrError(f"the probe {status.status}: {status.error or 'it read nothing; see the log'}")
    read, seconds, devices = found
    return Rate(
        read / (seconds * devices), devices, f"a probe of {counted(len(items), 'item')} on this machine"
    )
