"""The body of `POST /jobs`."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from contract.checks import MAX_EXPRESSION, MAX_RULES, RuleText, ValidatorName
from contract.job import MAX_CHUNK_SIZE, MAX_PRIORITY, AtDeadline, Metadata, Receivers, Tags
from contract.job_status import JOB_ID
from contract.kinds import DEFAULT_KIND, KINDS, KindName, job_parameters, optional
from contract.printable import CONTROLS
from contract.records import MAX_TEXT
from contract.region import Level
from contract.source import MAX_CATEGORIES, MAX_PARTS, MAX_SAMPLE, Category, Changed, Column, Globs
from producer.regions import FORMATS
from producer.results.sinks import Format, ResultsFormat

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
    label_column: Column | None = Field(
        None, description="of shards, the column of labels, the correct texts"
    )
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
    notify: Receivers | None = Field(
        None, description="webhooks that are notified when the job ends, is late or is of low quality"
    )
    tags: Tags | None = Field(None, description="words that jobs are filtered by")
    metadata: Metadata | None = Field(None, description="what is stored and shown with the job")

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that the request names, in order."""
        return (self.source,) if isinstance(self.source, str) else self.source
