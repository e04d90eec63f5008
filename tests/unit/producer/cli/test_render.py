"""Terminal output: plain text that shows names unchanged."""

import dataclasses
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from contract.job_status import ChunkCounts, JobStatus, Line, RequestCounts, Running
from contract.states import Action, State
from producer.catalogue import CatalogueEntry
from producer.cli import render
from producer.cli.progress import progress_shown

STATUS = JobStatus(
    id="crops-1",
    status=State.IN_PROGRESS,
    actions=(Action.PAUSE, Action.CANCEL),
    kind="recognition",
    source="/data/crops",
    workspace="/data/out",
    request_counts=RequestCounts(total=5_000, completed=1_000, failed=2),
    chunks=ChunkCounts(total=5, done=1),
    planning=False,
    created_at=0.0,
    updated_at=0.0,
    items_per_second=1_234.56,
    eta_seconds=90.0,
)

SUMMARY: dict[str, Any] = {
    "request_counts": {"total": 5_000, "completed": 4_998, "failed": 2},
    "error_codes": {"empty_file": 2},
    "passed_over": {"hidden": 1},
    "wall_seconds": 90.0,
    "items_per_second": 55.56,
    "reading_seconds": 50.0,
    "items_per_second_while_reading": 100.0,
    "stage_seconds": {"fetch": 1.25, "forward": 2.5},
    "batch_fill": 0.975,
    "models": [{"architecture": "parseq", "device": "cpu", "source": "/store"}],
}

MARKUP_LIKE = "/data/[old]/[/b] [red]crops"
"""A path that rich would interpret as markup."""


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200, force_terminal=False)


@pytest.fixture
def printed(console: Console) -> Iterator[Any]:
    return lambda: console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (61.6, "1 min 2 s"),
        (3_599.4, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_a_duration_is_text_for_people(seconds: float | None, expected: str) -> None:
    assert render.duration(seconds) == expected


def test_a_moment_is_in_utc() -> None:
    assert render.moment(1_795_305_600) == "2026-11-22 00:00:00Z"


def test_jobs_are_a_line_each(console: Console, printed: Any) -> None:
    render.print_jobs(console, [STATUS, dataclasses.replace(STATUS, id="crops-2", planning=True)])

    _, first, second = printed().splitlines()
    assert first.split() == [
        *("crops-1", "in_progress", "1,002/5,000", "2", "1/5", "1,234.6", "items/s"),
        *("1", "min", "30", "s", "1970-01-01", "00:00:00Z"),
    ]
    assert "1,002/5,000+" in second


def test_a_job_is_shown_with_its_workers_and_its_error(console: Console, printed: Any) -> None:
    running = (Running(3, 128, 0.0, "gpu0@host"),)

    render.print_job(console, dataclasses.replace(STATUS, running=running, error="no [bold] weights"))

    assert "pause, cancel" in printed()
    assert "gpu0@host  chunk 3: 128 items read" in printed()
    assert "error: no [bold] weights" in printed()


def test_a_job_is_shown_with_what_it_does_in_words_and_its_errors_by_code(
    console: Console, printed: Any
) -> None:
    reads = dataclasses.replace(
        STATUS,
        headline="Its chunks fail: No space left on device; 1 worker",
        error_codes={"not_found": 1_200},
    )

    render.print_job(console, reads)

    assert "state      Its chunks fail: No space left on device; 1 worker" in printed()
    assert "errors     1,200 not_found" in printed()


def test_nothing_is_cut_off_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = dataclasses.replace(STATUS, id="night-" * 20, status=State.IN_PROGRESS, items_per_second=1_234.5)

    render.print_jobs(render.make_console(), [long])

    (_, row) = capsys.readouterr().out.splitlines()
    assert "in_progress" in row
    assert "1,234.5 items/s" in row


def test_a_job_is_shown_with_its_place_in_the_line_and_its_deadline(console: Console, printed: Any) -> None:
    waits = dataclasses.replace(
        STATUS, line=Line("lab", 3, 5, 12_000, 0.0), deadline=7_200.0, projected_end=9_000.0, at_risk=True
    )

    render.print_job(console, dataclasses.replace(waits, margin_seconds=-1_800.0))

    assert "place 3 of 5 in line, tenant lab: 12,000 items go first" in printed()
    assert "02:00:00Z, ends 1970-01-01 02:30:00Z, 30 min 0 s after it, at risk" in printed()


def test_a_summary_counts_the_items_by_outcome(console: Console, printed: Any) -> None:
    render.print_summary(console, SUMMARY, "/data/out")

    for text in (
        "5,000: 4,998 read, 2 failed",
        "2 empty_file",
        "1 hidden",
        "1 min 30 s, 55.56 items/s",
        "50.0 s, 100.0 items/s",
        "fetch 1.2, forward 2.5; batches 98% full",
        "parseq on cpu, /store",
        "/data/out",
    ):
        assert text in printed()


def test_a_summary_says_where_forms_and_texts_that_were_written_back_are(
    console: Console, printed: Any
) -> None:
    render.print_summary(console, {**SUMMARY, "counts": {"forms": 1_250, "written_back": 2}}, "/data/out")

    assert "1,250, in /data/out/exports/forms.csv" in printed()
    assert "2 texts, in /data/out/exports" in printed()


def test_a_summary_without_errors_does_not_mention_them(console: Console, printed: Any) -> None:
    render.print_summary(console, {**SUMMARY, "error_codes": {}, "passed_over": {}}, "/data/out")

    assert "errors" not in printed()
    assert "passed over" not in printed()


def test_a_summary_whose_parts_do_not_say_when_they_were_read_has_one_rate(
    console: Console, printed: Any
) -> None:
    unknown = {"reading_seconds": None, "items_per_second_while_reading": None}

    render.print_summary(console, {**SUMMARY, **unknown}, "/data/out")

    assert "reading" not in printed()


@pytest.mark.parametrize(
    "show",
    [
        lambda console: render.print_job(console, dataclasses.replace(STATUS, source=MARKUP_LIKE)),
        lambda console: render.print_job(console, dataclasses.replace(STATUS, workspace=MARKUP_LIKE)),
        lambda console: render.print_summary(console, SUMMARY, MARKUP_LIKE),
        lambda console: render.print_summary(
            console, {**SUMMARY, "models": [{**SUMMARY["models"][0], "source": MARKUP_LIKE}]}, "/data/out"
        ),
        lambda console: render.print_models(
            console, [CatalogueEntry("parseq", "parseq", "recognition", "model store", MARKUP_LIKE)]
        ),
    ],
    ids=["source", "workspace", "summary's workspace", "model's source", "model store"],
)
def test_a_path_that_looks_like_markup_is_shown_unchanged(show: Any, console: Console, printed: Any) -> None:
    show(console)

    assert MARKUP_LIKE in printed()


HOSTILE = "a\x1b[2J\x9b31m\u202e\nfaked"
VISIBLE = r"a\x1b[2J\x9b31m\u202e\nfaked"


@pytest.mark.parametrize(
    "show",
    [
        lambda console: render.print_job(console, dataclasses.replace(STATUS, source=HOSTILE)),
        lambda console: render.print_job(console, dataclasses.replace(STATUS, workspace=HOSTILE)),
        lambda console: render.print_job(console, dataclasses.replace(STATUS, error=HOSTILE)),
        lambda console: render.print_job(console, dataclasses.replace(STATUS, waiting_for=HOSTILE)),
        lambda console: render.print_job(
            console, dataclasses.replace(STATUS, running=(Running(3, 128, 0.0, HOSTILE),))
        ),
        lambda console: render.print_summary(console, SUMMARY, HOSTILE),
        lambda console: render.print_summary(console, {**SUMMARY, "passed_over": {HOSTILE: 1}}, "/data/out"),
        lambda console: render.print_models(
            console, [CatalogueEntry(HOSTILE, "crnn", "recognition", "", "")]
        ),
        lambda console: show_progress(console, dataclasses.replace(STATUS, id=HOSTILE)),
    ],
    ids=["source", "output", "error", "wait", "worker", "summary's output", "reason", "store", "progress"],
)
def test_controls_in_what_comes_from_outside_are_visible(show: Any, console: Console, printed: Any) -> None:
    show(console)

    assert VISIBLE in printed()
    assert not set(printed()) & set("\x1b\x9b\u202e")


def show_progress(console: Console, status: JobStatus) -> None:
    with progress_shown(console) as show:
        show(status)


def test_models_are_a_line_each(console: Console, printed: Any) -> None:
    render.print_models(
        console,
        [
            CatalogueEntry("parseq", "parseq", "recognition", "download", "docTR's hub", "MIT"),
            CatalogueEntry("mine", "parseq", "recognition", "model store", "/m", "", 99, "0123456789abcdef"),
        ],
    )

    _, downloaded, mine = printed().splitlines()
    assert downloaded.split() == ["parseq", "recognition", "download", "MIT", "docTR's", "hub"]
    assert mine.split()[:5] == ["mine", "recognition", "model", "store", "/m"]
    assert mine.rstrip().endswith("(parseq, 99 characters, 0123456789ab)")


def test_off_a_terminal_progress_is_a_line_for_each_change_of_status(console: Console, printed: Any) -> None:
    with progress_shown(console) as show:
        for _ in range(3):
            show(STATUS)
        show(dataclasses.replace(STATUS, status=State.COMPLETED, items_per_second=None))

    assert printed().splitlines() == [
        "crops-1: reading, 1,002 of 5,000 items, 2 failed 1,234.6 items/s",
        "crops-1: completed, 1,002 of 5,000 items, 2 failed",
    ]


def test_on_a_terminal_progress_is_a_bar(printed: Any) -> None:
    terminal = Console(file=StringIO(), width=200, force_terminal=True)

    with progress_shown(terminal) as show:
        show(STATUS)

    assert "1002/5000" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "2 failed" in terminal.file.getvalue()  # type: ignore[attr-defined]
