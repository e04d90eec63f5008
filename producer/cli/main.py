"""`trace-ocr`: a thin shell over the producer's functions; flags > environment > settings file > defaults.

Nothing that takes long to import is imported here: a command pays for what it uses, and `--help` for click.
"""

import os
import sys

import click

from contract.errors import ExitCode
from producer.cli.lazy import LazyGroup, Place

SECTIONS = {
    "Read": {
        "run": Place("producer.cli.run", "run", "Read a source on this machine, from start to end."),
        "submit": Place("producer.cli.submit", "submit", "Queue a source for the workers."),
    },
    "Look": {
        "status": Place("producer.cli.read", "status", "Show one job, or all of them."),
        "watch": Place("producer.cli.read", "watch", "Show a job's progress until it ends."),
        "results": Place("producer.cli.read", "results", "Print a finished job's results."),
        "errors": Place("producer.cli.read", "errors", "Print a finished job's failed items."),
        "view": Place("producer.cli.view", "view", "Draw an item's page with its boxes and words."),
        "models": Place("producer.cli.models", "models", "Architectures and their weights."),
    },
    "Steer": {
        "pause": Place("producer.cli.steer", "pause", "Stop a job for now."),
        "resume": Place("producer.cli.steer", "resume", "Continue a job that stopped."),
        "cancel": Place("producer.cli.steer", "cancel", "Stop a job for good."),
        "retry-errors": Place("producer.cli.steer", "retry_errors", "Read a job's failed items again."),
        "gc": Place("producer.cli.steer", "gc", "Remove what a cancelled job has written."),
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

    Exit status: 0 every item read, 1 some items failed, 2 usage, 3 the job or the system failed.
    """


def main() -> None:
    """Run the program; every error ends in one line and the exit status that the README names."""
    # Spawned children start as `python -c`, which imports from the current folder first unless told not to.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except BrokenPipeError:
        # The reader of a pipe (head) has enough; keep Python from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except Exception as error:
        from producer.cli.failures import report_failure

        code = report_failure(error)
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
