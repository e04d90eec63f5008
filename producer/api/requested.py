"""The job that a request asks for, checked before anything is written."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.checks import Checks
from contract.errors import UsageError
from contract.job import Job, new_job_id
from contract.kinds import job_parameters
from contract.kinds.base import Parameters
from contract.model_store import ModelStore, check_models
from contract.records import SHOWN
from contract.settings import Settings
from contract.source import Source
from contract.storage import is_remote, supported_uris, unknown_scheme
from contract.tracing import current_traceparent
from contract.workspace import open_workspace
from producer.api.job_request import JobRequest
from producer.api.jobs import Jobs
from producer.api.security.keys import ApiKey
from producer.notify import check_urls, notified
from producer.planning.deadline import parse_deadline
from producer.planning.reuse import with_reuse
from producer.results.checking import checks_of
from producer.results.evaluation.truth import check_truth
from producer.results.sinks import formats_of, joined
from producer.sources.listing import identify_sources
from producer.sources.regions import check_regions, identify_regions
from producer.sources.selection import selection_of
from producer.sources.shards import with_columns


@dataclass(frozen=True)
class Requested:
    """A request, and what it is understood by.

    Args:
        jobs: those of the caller's key
    """

    request: JobRequest
    caller: ApiKey
    jobs: Jobs
    settings: Settings
    model_store: ModelStore | None

    def job(self) -> Job:
        """Return the job; raises as `Submission.submit`."""
        request, settings = self.request, self.settings
        given = request.model_dump(include=set(job_parameters()), exclude_none=True)
        self._check_places(given.get("truth"))
        source, now = self._source(), time.time()
        parameters = settings.parameters_of(request.kind, given)
        check_models(parameters.wanted_models(), self.model_store)
        check_truth(parameters, self.jobs.storage, self.jobs.readable)
        wanted = Job(
            id=request.job_id or new_job_id(source.uris[0]),
            kind=request.kind,
            parameters=parameters,
            exports=self._formats(),
            source=source,
            chunk_size=request.chunk_size or settings.chunk_size_of(request.kind),
            planned_by="control",
            created_at=int(now),
            roots=None if self.jobs.bounds is None else tuple(self.jobs.bounds),
            checks=self._checks(parameters),
            notify=self._notified(),
            traceparent=current_traceparent(),
            submitted_by=self.caller.name or None,
            tags=settings.tags if request.tags is None else request.tags,
            metadata=settings.metadata if request.metadata is None else request.metadata,
            **self._turn(now),
        )
        if request.reuse is None:
            return wanted
        return with_reuse(wanted, open_workspace(request.reuse, self.jobs.storage, self.jobs.readable))

    def _check_places(self, truth: str | None) -> None:
        """Check every place that is named before any access: callers learn nothing about files elsewhere."""
        request = self.request
        regions_path = (request.regions or "").partition(":")[2]
        for uri in filter(None, (*request.sources, request.output, request.reuse, truth, regions_path)):
            if not is_remote(uri) and not uri.startswith("/"):
                wrong = unknown_scheme(uri) if "://" in uri else f"it must be absolute: {supported_uris()}"
                raise UsageError(f"{uri!r}: {wrong}")
            self.jobs.check(uri)
        _check_folder(request.output)

    def _source(self) -> Source:
        request = self.request
        regions = identify_regions(request.regions, request.level, request.categories)
        source = with_columns(
            identify_sources(request.sources), request.image_column, request.id_column, request.label_column
        )
        # Again: a link may have been put there since.
        for uri in (*source.uris, *([regions.uri] if regions else ())):
            self.jobs.readable.recorded(uri)
        sample = self.settings.sample_of(request.sample, request.seed)
        selection = selection_of(request.include, request.exclude, request.limit)
        given = {"selection": selection, "sample": sample, "regions": regions, "changed": request.changed}
        source = source.model_copy(update=given)
        check_regions(source, request.kind)
        return source

    def _formats(self) -> tuple[str, ...]:
        kind, exports, results = self.request.kind, self.request.exports, self.request.results
        if exports is None:
            exports = formats_of(self.settings.exports, kind)
        if results is None:
            results = formats_of(self.settings.results, kind, "results")
        return joined(exports, results)

    def _checks(self, parameters: Parameters) -> Checks:
        named = {"min_confidence", "expect", "validators", "fail_if"}
        given = self.request.model_dump(include=named, exclude_none=True)
        if "min_confidence" in given:
            given["min_confidence"] = str(given["min_confidence"])
        storage, readable = self.jobs.storage, self.jobs.readable
        return checks_of(self.settings, self.request.kind, parameters, storage, given, readable)

    def _notified(self) -> tuple[str, ...]:
        if self.request.notify is None:
            return notified(self.settings.notify, self.settings)
        check_urls(self.request.notify, self.settings.notify_hosts)
        return self.request.notify

    def _turn(self, now: float) -> dict[str, Any]:
        """Return the fields that decide when the job's chunks are sent."""
        request, settings = self.request, self.settings
        deadline = request.deadline or settings.deadline
        zone = request.timezone or settings.timezone
        return {
            "urgent": request.urgent,
            "tenant": self.caller.tenant or settings.tenant,
            "priority": settings.priority if request.priority is None else request.priority,
            "deadline": parse_deadline(deadline, zone, now) if deadline else None,
            "at_deadline": request.at_deadline or settings.at_deadline,
        }


def _check_folder(output: str) -> None:
    """Raise UsageError if a local workspace cannot be a folder: a retry would not help."""
    if is_remote(output):
        return
    try:
        nearest = next(path for path in (Path(output), *Path(output).parents) if path.exists())
    except (OSError, ValueError) as error:
        raise UsageError(f"output {output[:SHOWN]!r} cannot be a folder: {error}") from error
    if not nearest.is_dir():
        raise UsageError(f"output {output[:SHOWN]!r} cannot be a folder: {nearest} is a file")
