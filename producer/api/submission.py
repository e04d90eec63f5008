"""`POST /jobs`: check a request's body, store the job in its workspace and submit it to control."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from contract.checks import MAX_EXPRESSION, MAX_RULES, RuleText, ValidatorName
from contract.errors import IdTakenError, TraceOcrError, UsageError, WorkspaceConflictError
from contract.job import (
    MAX_CATEGORIES,
    MAX_CHUNK_SIZE,
    MAX_PARTS,
    MAX_PRIORITY,
    MAX_RECEIVERS,
    MAX_SAMPLE,
    MAX_URL,
    AtDeadline,
    Category,
    Changed,
    Column,
    Globs,
    Job,
    Metadata,
    Source,
    Tags,
    new_job_id,
)
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS, KindName, job_parameters, optional
from contract.lines import UNREADABLE
from contract.model_store import ModelStore, check_models
from contract.printable import CONTROLS
from contract.records import MAX_TEXT, SHOWN
from contract.region import Level
from contract.settings import Settings
from contract.storage import is_remote, supported_uris, unknown_scheme
from contract.tenants import parse_tenants, tenant_of
from contract.tracing import current_traceparent
from contract.workspace import Workspace, open_workspace
from producer.api.jobs import Jobs
from producer.api.security.keys import ApiKey
from producer.notify import check_urls, notified
from producer.planning.claim import Ids
from producer.planning.deadline import parse_deadline
from producer.planning.reuse import with_reuse
from producer.planning.submit import request_job, settle_job
from producer.regions import FORMATS
from producer.results.checking import checks_of
from producer.results.evaluation.truth import check_truth
from producer.results.sinks import Format, ResultsFormat, formats_of, joined
from producer.sources import identify_sources
from producer.sources.regions import check_regions, identify_regions
from producer.sources.selection import selection_of
from producer.sources.shards import with_columns

SURROGATES = "\ud800-\udfff"

NO_CONTROLS = f"^[^{CONTROLS.pattern[1:-1].replace(SURROGATES, '')}]*$"
"""Pattern of a name over HTTP, for OpenAPI; JSON cannot hold a pattern with unpaired surrogates."""


def _without_controls(text: str) -> str:
    found = CONTROLS.search(text)
    if found:
        raise ValueError(f"it holds the control character {found[0]!a}")
    return text


Uri = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TEXT, json_schema_extra={"pattern": NO_CONTROLS}),
    AfterValidator(_without_controls),
]


class TenantFullError(TraceOcrError):
    """The tenant has as many items waiting as it may have."""


class IdempotencyConflictError(TraceOcrError):
    """The `Idempotency-Key` was used for another request."""


if TYPE_CHECKING:
    GivenParameters = BaseModel
else:
    GivenParameters = create_model("GivenParameters", **optional(job_parameters()))
"""The job parameters of a request; all are optional."""


class JobRequest(GivenParameters):
    """What to read and where to write; omitted fields take the deployment's defaults."""

    model_config = ConfigDict(extra="forbid")

    kind: KindName = Field(
        DEFAULT_KIND, description="; ".join(f"{kind.name}: {kind.help}" for kind in KINDS.values())
    )

    source: Uri | Annotated[tuple[Uri, ...], Field(min_length=1, max_length=MAX_PARTS)] = Field(
        description="folder, prefix, manifest (.jsonl, .csv, .gz of either) or shards (s3://b/p/*.tar, "
        "/data/{0000..0999}.zip); an absolute path; or an array of several, whose items are read in their "
        "order"
    )
    include: Globs = Field(
        (),
        description="globs of the files that are read, by their names relative to the source, such as "
        "`2026/**/*.png`; those without a slash match in any folder",
    )
    exclude: Globs = Field((), description="globs of the files that are not read")
    limit: int | None = Field(None, ge=1, description="read only the first so many items of the source")
    image_column: Column | None = Field(
        None, description="of shards, the column of images; of tar and zip, their extension"
    )
    id_column: Column | None = Field(None, description="of shards, the column of ids")
    label_column: Column | None = Field(None, description="of shards, the column of labels, the right texts")
    regions: Uri | None = Field(
        None,
        description="FORMAT:PATH of the file, folder or remote prefix that describes regions of the source's "
        f"pages, each of which is then an item; FORMAT is {', '.join(FORMATS)}, PATH an absolute path",
    )
    level: Level | None = Field(
        None, description="which of the format's nested regions are read, its usual one by default"
    )
    categories: Annotated[tuple[Category, ...], Field(max_length=MAX_CATEGORIES)] = Field(
        (), description="read only regions of these categories"
    )
    output: Uri = Field(description="the job's workspace: a folder or remote prefix")
    job_id: Annotated[str, Field(pattern=JOB_ID)] | None = None
    urgent: bool = Field(False, description="overtake jobs that are not urgent")
    priority: int | None = Field(
        None,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="among the jobs of its tenant; a higher one goes first",
    )
    deadline: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="when the job should end: 06:00 for the next such time, or 2026-11-26T06:00+01:00"
    )
    timezone: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="zone of the deadline, as Europe/Berlin"
    )
    at_deadline: AtDeadline | None = Field(
        None, description="what happens then: the job continues, or ends with what was read (partial)"
    )
    chunk_size: int | None = Field(None, ge=1, le=MAX_CHUNK_SIZE)
    sample: int | None = Field(
        None, ge=1, le=MAX_SAMPLE, description="read only so many items, chosen at random"
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="of the random choice of a sample")
    changed: Changed | None = Field(
        None, description="fingerprint to record of each item, so that later jobs can reuse its line"
    )
    reuse: Uri | None = Field(
        None, description="workspace of a finished job whose lines of the same content are taken over"
    )
    exports: tuple[Format, ...] | None = Field(
        None, description="formats to write of each document, or back into the files of regions"
    )
    results: tuple[ResultsFormat, ...] | None = Field(
        None, description="formats of results and errors: jsonl, which is always written, parquet, csv"
    )
    min_confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | Uri | None = Field(
        None,
        description="write readings below it to review.jsonl too: 0 to 1, or the workspace of a comparison, "
        "whose threshold for the model is taken",
    )
    expect: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_EXPRESSION,
        description="regular expression that whole readings match",
    )
    validators: Annotated[tuple[ValidatorName, ...], Field(max_length=MAX_RULES)] | None = Field(
        None, description="kinds of values, of which each reading must be one"
    )
    fail_if: Annotated[tuple[RuleText, ...], Field(max_length=MAX_RULES)] | None = Field(
        None, description="rules that make the quality low, such as errors>5%"
    )
    notify: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=MAX_URL)], ...],
            Field(max_length=MAX_RECEIVERS),
        ]
        | None
    ) = Field(None, description="webhooks that are told when the job ends, is late or is of low quality")
    tags: Tags | None = Field(None, description="words that jobs are filtered by")
    metadata: Metadata | None = Field(None, description="what is stored and shown with the job")

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that the request names, in order."""
        return (self.source,) if isinstance(self.source, str) else self.source


class _Remembered(msgspec.Struct, frozen=True):
    fingerprint: str
    job: str


@dataclass(frozen=True)
class IdempotencyKeys:
    """The request of each `Idempotency-Key`, so that a retried request creates no second job."""

    client: redis.Redis
    namespace: str
    retention_seconds: float

    def job_for(self, caller: str, key: str, request: JobRequest, job: str) -> tuple[str, bool]:
        """Return the id of the request's job, and whether an earlier call used the key for the same request.

        Keys are separate for each caller, which is the name of an API key.

        Raises:
            IdempotencyConflictError: the earlier call was another request
        """
        ours = _Remembered(hashlib.sha256(request.model_dump_json().encode()).hexdigest(), job)
        name = self._name(caller, key)
        if self.client.set(name, msgspec.json.encode(ours), nx=True, ex=int(self.retention_seconds)):
            return job, False
        try:
            theirs = msgspec.json.decode(str(self.client.get(name)), type=_Remembered)
        except UNREADABLE:  # it expired in between, or is damaged
            self.client.set(name, msgspec.json.encode(ours), ex=int(self.retention_seconds))
            return job, False
        if theirs.fingerprint != ours.fingerprint:
            raise IdempotencyConflictError("this Idempotency-Key was used for another request: use a new one")
        return theirs.job, True

    def forget(self, caller: str, key: str) -> None:
        """Forget a key whose request was refused, so that it may be used for the corrected one."""
        self.client.delete(self._name(caller, key))

    def _name(self, caller: str, key: str) -> str:
        return f"{self.namespace}:idempotency:{hashlib.sha256(f'{caller} {key}'.encode()).hexdigest()}"


@dataclass(frozen=True)
class Submission:
    """Submits jobs whose source and workspace are below the allowed roots."""

    settings: Settings
    jobs: Jobs
    keys: IdempotencyKeys
    model_store: ModelStore | None

    def submit(self, request: JobRequest, caller: ApiKey, idempotency_key: str | None) -> tuple[Job, bool]:
        """Return the job, and whether this call created it; an existing job is continued.

        The workers read its items only below the roots of the caller's key.

        Raises:
            UsageError: there is no such source
            TenantFullError: as many items of the key's tenant wait as may
            UnknownModelError: there is no such model
            TruthError: the truth of a comparison cannot be used
            OutsideAllowedRootsError: the source, the workspace or the truth is outside the allowed roots, or
                the key's
            WorkspaceConflictError: the workspace, or the id, belongs to another job
        """
        jobs = self.jobs.below(caller.roots)
        wanted = self._wanted(request, jobs, caller)
        if not idempotency_key:
            return self._submit(request, wanted, jobs, repeated=False)
        name, repeated = self.keys.job_for(caller.name, idempotency_key, request, wanted.id)
        try:
            named = wanted.model_copy(update={"id": name})
            return self._submit(request, named, jobs, repeated=repeated)
        except (UsageError, TenantFullError):
            if not repeated:
                self.keys.forget(caller.name, idempotency_key)
            raise

    def described(self, request: JobRequest, caller: ApiKey) -> tuple[Job, str]:
        """Return the job that a request would submit, and the place of its workspace; raises as `submit`."""
        jobs = self.jobs.below(caller.roots)
        return self._wanted(request, jobs, caller), jobs.readable.resolved(request.output)

    def _submit(self, request: JobRequest, wanted: Job, jobs: Jobs, *, repeated: bool) -> tuple[Job, bool]:
        location = jobs.readable.resolved(request.output)
        workspace = Workspace(location, self.jobs.storage.at(location))
        if not workspace.store.exists(workspace.job_json):
            self._check_room(wanted.tenant)
        ids = Ids(self.jobs.ledger, self.jobs.index)
        try:
            job = settle_job(wanted, workspace, ids, self.jobs.roots, request.job_id)
        except IdTakenError as error:
            if jobs.bounds is None:
                raise
            # Without the place, which may not be the caller's.
            raise WorkspaceConflictError(f"there is a job named {error.job}: choose another id") from error
        # A repeated call must not resume a job that was cancelled or paused since.
        if not (repeated and workspace.load_halt()):
            self._hand_over(job, workspace)
        return job, job is wanted and not repeated

    def _check_room(self, name: str) -> None:
        most = tenant_of(name, parse_tenants(self.settings.tenants)).most_items
        if most is None:
            return
        waiting = self.jobs.ledger.items_waiting(name)
        if waiting >= most:
            raise TenantFullError(
                f"{waiting:,} items of the tenant {name} wait, and {most:,} may: submit the job again once "
                "some are read"
            )

    def _wanted(self, request: JobRequest, jobs: Jobs, caller: ApiKey) -> Job:
        given = request.model_dump(include=set(job_parameters()), exclude_none=True)
        regions_path = (request.regions or "").partition(":")[2]
        named = (*request.sources, request.output, request.reuse, given.get("truth"), regions_path)
        for uri in filter(None, named):
            if not is_remote(uri) and not uri.startswith("/"):
                wrong = unknown_scheme(uri) if "://" in uri else f"it must be absolute: {supported_uris()}"
                raise UsageError(f"{uri!r}: {wrong}")
            # Check before any access, so that callers learn nothing about files outside the roots.
            jobs.check(uri)
        _check_folder(request.output)
        found, now = self._source(request, jobs), time.time()
        parameters = self.settings.parameters_of(request.kind, given)
        check_models(parameters.wanted_models(), self.model_store)
        check_truth(parameters, self.jobs.storage, jobs.readable)
        checks = request.model_dump(
            include={"min_confidence", "expect", "validators", "fail_if"}, exclude_none=True
        )
        if "min_confidence" in checks:
            checks["min_confidence"] = str(checks["min_confidence"])
        wanted = Job(
            id=request.job_id or new_job_id(found.uris[0]),
            kind=request.kind,
            parameters=parameters,
            exports=self._formats(request),
            source=found,
            chunk_size=request.chunk_size or self.settings.chunk_size_of(request.kind),
            urgent=request.urgent,
            tenant=caller.tenant or self.settings.tenant,
            priority=self.settings.priority if request.priority is None else request.priority,
            deadline=_deadline(request, self.settings, now),
            at_deadline=request.at_deadline or self.settings.at_deadline,
            planned_by="control",
            created_at=int(now),
            roots=None if jobs.bounds is None else tuple(jobs.bounds),
            checks=checks_of(
                self.settings, request.kind, parameters, self.jobs.storage, checks, jobs.readable
            ),
            notify=self._notified(request),
            traceparent=current_traceparent(),
            submitted_by=caller.name or None,
            tags=self.settings.tags if request.tags is None else request.tags,
            metadata=self.settings.metadata if request.metadata is None else request.metadata,
        )
        if request.reuse is None:
            return wanted
        return with_reuse(wanted, open_workspace(request.reuse, self.jobs.storage, jobs.readable))

    def _formats(self, request: JobRequest) -> tuple[str, ...]:
        exports, results = request.exports, request.results
        if exports is None:
            exports = formats_of(self.settings.exports, request.kind)
        if results is None:
            results = formats_of(self.settings.results, request.kind, "results")
        return joined(exports, results)

    def _source(self, request: JobRequest, jobs: Jobs) -> Source:
        regions = identify_regions(request.regions, request.level, request.categories)
        source = with_columns(
            identify_sources(request.sources), request.image_column, request.id_column, request.label_column
        )
        # Again: a link may have been put there since.
        for uri in (*source.uris, *([regions.uri] if regions else ())):
            jobs.readable.recorded(uri)
        sample = self.settings.sample_of(request.sample, request.seed)
        selection = selection_of(request.include, request.exclude, request.limit)
        given = {"selection": selection, "sample": sample, "regions": regions, "changed": request.changed}
        source = source.model_copy(update=given)
        check_regions(source, request.kind)
        return source

    def _notified(self, request: JobRequest) -> tuple[str, ...]:
        if request.notify is None:
            return notified(self.settings.notify, self.settings)
        check_urls(request.notify, self.settings.notify_hosts)
        return request.notify

    def _hand_over(self, job: Job, workspace: Workspace) -> None:
        self.jobs.index.note(job, workspace)
        if not workspace.is_complete(job.id):
            request_job(job, workspace, self.jobs.ledger)


def _deadline(request: JobRequest, settings: Settings, now: float) -> int | None:
    wanted = request.deadline or settings.deadline
    return parse_deadline(wanted, request.timezone or settings.timezone, now) if wanted else None


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
