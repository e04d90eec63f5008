"""`trace-ocr notify`: whether notifications arrive."""

import time

import click

from contract.errors import ExitCode
from contract.settings import Settings
from producer.cli import options
from producer.cli.terminal import echo
from producer.notify.base import host_of
from producer.notify.events import Event, EventType
from producer.notify.outbox import deliver


@click.group()
def notify() -> None:
    """Notifications about jobs."""


@notify.command("test", cls=options.SettingsCommand)
@click.argument("url")
@options.with_settings("notify_hosts", *options.SENDING)
def test(settings: Settings, url: str) -> ExitCode:
    """Send a notification to URL as control does, once, and say whether it was accepted."""
    now = time.time()
    deliver(url, Event(f"msg_test_{now:.0f}", EventType.TEST, now, {}), settings, now)
    echo(f"{host_of(url)} accepted it")
    return ExitCode.OK
