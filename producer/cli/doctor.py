"""`trace-ocr doctor`: what is wrong with this installation, and which settings are in force."""

import os
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text

from contract.errors import ExitCode
from contract.printable import printable
from contract.settings import Settings
from producer.cli import options, render
from producer.cli.read import print_json
from producer.doctor.finding import Finding, Verdict
from producer.doctor.machine import versions
from producer.doctor.report import exit_code, findings
from producer.doctor.settings import SettingInForce, settings_in_force
from producer.session import Session

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red", Verdict.SKIPPED: "dim"}
MARK_WIDTH = max(map(len, Verdict)) + 1


@options.command()
@click.option("--all", "show_all", is_flag=True, help="Also show settings that have their default.")
@click.option("--no-write", is_flag=True, help="Do not test writing below the allowed roots.")
@options.as_json
@options.with_settings("model_store", "devices", *options.WATCHING)
def doctor(settings: Settings, show_all: bool, no_write: bool, json_output: bool) -> ExitCode:
    """Check settings, Redis, storage, models and devices as this user on this machine sees them.

    Exit status: 0 if jobs can run, 3 if a check failed.
    """
    found = findings(Session(settings), write=not no_write)
    in_force = [
        one
        for one in settings_in_force(settings, os.environ)
        if show_all or json_output or one.origin != "default"
    ]
    if json_output:
        made = list(found)
        print_json(
            {
                "versions": versions(),
                "settings": [asdict(one) for one in in_force],
                "checks": [asdict(one) for one in made],
            }
        )
        return exit_code(made)
    return _printed(in_force, found)


def _printed(in_force: list[SettingInForce], found: Iterator[Finding]) -> ExitCode:
    console = render.make_console()
    console.print(" ".join(f"{name} {version}" for name, version in versions().items()), style="dim")
    for one in in_force:
        console.print(Text(printable(f"{one.name} = {one.value}  ({one.origin})")))
    made = []
    for finding in found:
        made.append(finding)
        _print_finding(console, finding)
    return exit_code(made)


def _print_finding(console: Console, finding: Finding) -> None:
    advice = f" → {finding.advice}" if finding.advice else ""
    text = Text.assemble(
        (finding.verdict.ljust(MARK_WIDTH), STYLES[finding.verdict]),
        printable(f"{finding.check}: {finding.detail}{advice}"),
    )
    console.print(text, soft_wrap=True)
