"""The regions of a template become one line and one row for each page."""

import json

import pyarrow.parquet as pq
import pytest

from contract.errors import ErrorCode
from contract.job import Job, Plan
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line, encode_lines
from contract.records import Item
from contract.region import region_id, region_of
from contract.source import Regions, Source
from contract.workspace import Workspace
from producer.results.sinks import sinks_of
from producer.results.sinks.base import MergedLine, SinkContext
from producer.results.sinks.forms import SINK

NAMES = ("date", "total")


@pytest.fixture
def job(job: Job) -> Job:
    """Given a job that lays a template over a scan and a document."""
    source = Source(type="folder", uri="/scans", regions=Regions(format="template", uri="/form.json"))
    return job.model_copy(update={"source": source, "plan": Plan(chunks=1, items=6)})


def item(page: str, name: str) -> Item:
    return Item(region_id(page, name), "/scans/a", region=region_of([0, 0, 9, 9], name=name))


def read(item: Item, value: str, confidence: float = 0.5) -> MergedLine:
    line = RecognitionLine(item.id, "a", value, confidence, region=item.region and item.region.name)
    return MergedLine(encode_line(line).strip(), None, 0)


def failed(item: Item, code: ErrorCode) -> MergedLine:
    failure = Failure(code, "why")
    return MergedLine(encode_line(ErrorLine(item.id, item.uri, failure, 1)).strip(), failure, 0)


def written(job: Job, workspace: Workspace, *lines: tuple[Item, MergedLine]) -> tuple[list[dict], list[str]]:
    """Return the lines and the rows that the sink writes."""
    workspace.store.replace(workspace.chunk(0), encode_lines([item for item, _ in lines]))
    with SINK.open(SinkContext(job, workspace)) as write:
        for _, line in lines:
            write(line)
    uris = list(SINK.paths(job, workspace))
    forms, table = (workspace.store.read(uri, 1 << 20).decode() for uri in uris[:2])
    return [json.loads(line) for line in forms.splitlines()], table.splitlines()


def test_a_page_is_a_line_and_a_row_with_a_column_for_each_region(job: Job, workspace: Workspace) -> None:
    items = [item(page, name) for page in ("a.png", "b.pdf#page=2") for name in NAMES]
    values = ("2026-11-02", "12.50", "2026-11-03", "1,250.00")

    forms, table = written(
        job,
        workspace,
        *(
            (one, read(one, value, 0.25 * (place + 1)))
            for place, (one, value) in enumerate(zip(items, values, strict=True))
        ),
    )

    assert forms[1] == {
        "id": "b.pdf#page=2",
        "values": {"date": "2026-11-03", "total": "1,250.00"},
        "confidences": {"date": 0.75, "total": 1.0},
        "errors": {},
    }
    assert table == [
        "id,date,total,confidence,errors",
        "a.png,2026-11-02,12.50,0.2500,",
        'b.pdf#page=2,2026-11-03,"1,250.00",0.7500,',
    ]


def test_what_could_not_be_read_is_empty_and_named(job: Job, workspace: Workspace) -> None:
    outside, gone = item("a.png", "total"), [item("gone.png", name) for name in NAMES]

    forms, table = written(
        job,
        workspace,
        (item("a.png", "date"), read(item("a.png", "date"), "today")),
        (outside, failed(outside, ErrorCode.BAD_REGION)),
        *((one, failed(one, ErrorCode.NOT_FOUND)) for one in gone),
    )

    assert forms[0]["errors"] == {"total": "bad_region"}
    assert forms[1] == {
        "id": "gone.png",
        "values": {},
        "confidences": {},
        "errors": {"date": "not_found", "total": "not_found"},
    }
    assert table[1:] == ["a.png,today,,0.5000,total: bad_region", "gone.png,,,,not_found"]


def test_a_sample_may_lack_regions_of_any_page(job: Job, workspace: Workspace) -> None:
    first, second = item("a.png", "total"), item("b.png", "date")

    _, table = written(job, workspace, (first, read(first, "1")), (second, read(second, "2")))

    assert table == ["id,total,date,confidence,errors", "a.png,1,,0.5000,", "b.png,,2,0.5000,"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@a", "'@a"), ("-12.50", "-12.50"), ("+45 33 12", "+45 33 12")],
)
def test_no_cell_is_a_formula_and_numbers_stay(value: str, cell: str, job: Job, workspace: Workspace) -> None:
    one = item("a.png", "total")

    forms, table = written(job, workspace, (one, read(one, value)))

    assert table[1] == f"a.png,{cell},0.5000,"
    assert forms[0]["values"] == {"total": value}


def test_a_job_with_parquet_gets_a_column_for_each_region(job: Job, workspace: Workspace) -> None:
    job = job.model_copy(update={"exports": ("parquet",)})
    total, own, late = item("a.png", "total"), item("a.png", "id"), item("b.png", "2nd, page")

    written(
        job,
        workspace,
        (total, read(total, "1")),
        (own, failed(own, ErrorCode.BAD_REGION)),
        (late, read(late, "")),
    )

    assert pq.read_table(workspace.path("exports", "forms.parquet")).to_pylist() == [
        {
            "id": "a.png",
            "total": "1",
            "id_": None,
            "2nd, page": None,
            "confidences": {"total": 0.5, "id": None, "2nd, page": None},
            "errors": {"total": None, "id": "bad_region", "2nd, page": None},
        },
        {
            "id": "b.png",
            "total": None,
            "id_": None,
            "2nd, page": "",
            "confidences": {"total": None, "id": None, "2nd, page": 0.5},
            "errors": {"total": None, "id": None, "2nd, page": None},
        },
    ]


def test_parquet_of_a_job_without_pages_has_no_regions(job: Job, workspace: Workspace) -> None:
    written(job.model_copy(update={"exports": ("parquet",)}), workspace)

    assert pq.read_table(workspace.path("exports", "forms.parquet")).to_pydict() == {"id": []}


def test_every_recognition_job_with_a_template_writes_its_forms(job: Job) -> None:
    plain = job.model_copy(update={"source": Source(type="folder", uri="/scans")})

    assert SINK in sinks_of(job)
    assert SINK not in sinks_of(plain)
