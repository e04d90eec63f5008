"""What is printed of a night."""

import msgspec

from contract.counting import counted
from contract.errors import ExitCode, UsageError
from producer.cli.read import exit_code_of, print_json, report
from producer.cli.terminal import echo
from producer.nightly.files import Nights
from producer.nightly.night import is_complete
from producer.nightly.records import Counts
from producer.results.status import first_lines

SHOWN_ERRORS = 20
"""Failed items that are printed: enough to see what is wrong in the log of a scheduler."""


def report_night(night: str, nights: Nights, *, json_output: bool) -> ExitCode:
    """Print what a complete night found and read; return the exit status."""
    workspace, record = nights.workspace(night), nights.night(night)
    if record is None:
        last = nights.last()
        raise UsageError(
            f"there was no night {night}, and the last complete one is {last and last.night}: nights only go "
            "forward; give a later --date, or check this machine's clock"
        )
    if not is_complete(night, nights):
        raise UsageError(
            f"night {night} was cancelled, or its folder {workspace.root} is gone; later ones are complete, "
            "and nights only go forward"
        )
    if not json_output:
        for line in first_lines(workspace, workspace.errors, SHOWN_ERRORS):
            echo(msgspec.json.encode(line).decode(), err=True)
        echo(counts_in_words(record.counts), err=True)
        return report(workspace, 0, json_output=False)
    summary = workspace.load_summary() or {}
    print_json(
        {
            "night": night,
            "workspace": workspace.root,
            "latest": nights.latest,
            "counts": record.counts,
            "summary": summary,
        }
    )
    return exit_code_of(summary, workspace.require_job())


def counts_in_words(counts: Counts) -> str:
    """Return what a night found in its source, for people."""
    found = {
        "new": counts.new,
        "changed": counts.changed,
        "failed before": counts.again,
        "unchanged": counts.unchanged,
        "given up": counts.given_up,
        "gone": counts.gone,
    }
    shown = ", ".join(f"{number:,} {name}" for name, number in found.items() if number)
    return f"{counted(counts.listed, 'item')} in the source: {shown or 'nothing to read'}"
