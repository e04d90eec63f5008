"""`trace-ocr`: thin commands over the producer's functions; flags > environment > settings file > defaults.

This module imports nothing slow: each command imports what it uses, and `--help` imports only click.
"""

import gc
import os
import sys

import click

from contract.errors import ExitCode
from producer.cli.lazy import LazyGroup, Place
from producer.cli.terminal import show_usage_error

SECTIONS = {
    "Read": {
        "run": Place("producer.cli.run", "run", "Read a source on this machine, from start to end."),
        "compare": Place("producer.cli.evaluate", "compare", "Read a source with several models."),
        "submit": Place("producer.cli.submit", "submit", "Queue a source for the workers."),
        "nightly": Place("producer.cli.nightly", "nightly", "Read what is new or changed since last night."),
    },
    "Look": {
        "status": Place("producer.cli.read", "status", "Show one job, or all of them."),
        "watch": Place("producer.cli.read", "watch", "Show a job's progress until it ends."),
        "results": Place("producer.cli.lines", "results", "Print a finished job's results."),
        "errors": Place("producer.cli.lines", "errors", "Print a finished job's failed items."),
        "review": Place("producer.cli.lines", "review", "Print a finished job's readings in doubt."),
        "corrections": Place("producer.cli.corrections", "corrections", "Print what people have corrected."),
        "view": Place("producer.cli.view", "view", "Draw an item's page with its boxes and words."),
        "evaluate": Place("producer.cli.evaluate", "evaluate", "Compare finished workspaces."),
        "doctor": Place("producer.cli.doctor", "doctor", "Check settings, Redis, storage, models, devices."),
        "models": Place("producer.cli.models", "models", "List models and their weights, and check one."),
    },
    "Steer": {
        "pause": Place("producer.cli.steer", "pause", "Stop a job until it is resumed."),
        "resume": Place("producer.cli.steer", "resume", "Continue a stopped job."),
        "cancel": Place("producer.cli.steer", "cancel", "Cancel a job."),
        "retry-errors": Place("producer.cli.steer", "retry_errors", "Read a job's failed items again."),
        "correct": Place("producer.cli.corrections", "correct", "Correct texts, and merge a job again."),
        "notify": Place("producer.cli.notify", "notify", "Test whether notifications arrive."),
        "gc": Place("producer.cli.steer", "gc", "Remove the files of a cancelled job."),
    },
    "Serve": {
        "worker": Place("producer.cli.worker", "worker", "Read chunks: one process per device."),
        "control": Place("producer.cli.control", "control", "Plan, merge, and re-send lost chunks."),
        "api": Place("producer.cli.api", "api", "Serve the HTTP API and the web UI."),
        "api-key": Place("producer.cli.api", "api_key", "Make a key for the HTTP API."),
        "flower": Place("producer.cli.flower", "flower", "Show workers and chunks in Flower."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="trace-ocr-batch")
def cli() -> None:
    """Batch OCR: crops or pages in, JSONL out, through Redis, Celery workers and docTR.

    Exit status: 0 every item read, 1 some items failed, 2 usage, 3 the job or the system failed,
    4 a rule of --fail-if is broken.
    """


def main() -> None:
    """Run the program; every error ends in one line and an exit status that docs/command-line.md lists."""
    # Spawned children start as `python -c`, which puts the current folder first on the path without this.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        show_usage_error(error)
        code = ExitCode.USAGE
    except BrokenPipeError:
        # The reader of the pipe (such as head) closed it; avoid a second error when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except Exception as error:
        from producer.cli.failures import report_failure

        code = report_failure(error)
    # Python looks for garbage once more at its end, through everything that was imported.
    gc.freeze()
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
