"""What a run allows its own worker and planner to read."""

from pathlib import Path

from pydantic import SecretStr

from contract.job import Job
from contract.reuse import Reuse
from contract.settings import Settings
from contract.source import Regions
from contract.workspace import Workspace
from producer.local.run import _settings_for


def test_everything_that_its_user_has_named_is_an_allowed_root(
    job: Job, workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    regions = Regions(format="page", uri="/layouts/")
    job = job.model_copy(
        update={
            "source": job.source.model_copy(update={"regions": regions}),
            "reuse": Reuse(workspace="/earlier", models=()),
        }
    )
    settings = settings.model_copy(update={"redis_url": SecretStr("redis://here"), "allowed_roots": ()})

    with _settings_for(job, workspace, settings) as ours:
        assert set(ours.allowed_roots) == {job.source.uri, workspace.root, "/layouts/", "/earlier"}
