"""The reuse of lines: which earlier job has read the same content."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field


class Reuse(BaseModel):
    """An earlier job, whose lines are taken over for the same content, and the models that read them.

    Workers read an item after all if their own models are others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: str = Field(min_length=1, max_length=4096)
    models: tuple[dict[str, str], ...]

    def read_by(self, models: Iterable[Mapping[str, str]]) -> bool:
        """Return whether models have the same weights and precision as those that read the earlier job."""
        ours, theirs = _identities(models), _identities(self.models)
        return ours == theirs and all(sha256 for sha256, _ in ours)


def _identities(models: Iterable[Mapping[str, str]]) -> set[tuple[str | None, str | None]]:
    return {(model.get("weights_sha256"), model.get("precision")) for model in models}
