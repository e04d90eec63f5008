"""`trace-ocr flower`: the command of `producer.flower`."""

from contract.errors import ExitCode
from contract.settings import Settings
from producer.cli import options
from producer.flower import serve_flower


# No flag for the password: arguments are visible to everyone on the machine.
@options.command()
@options.with_settings(*options.FLOWER, *options.REDIS)
def flower(settings: Settings) -> ExitCode:
    """Show workers and chunks in a browser, with Flower; runs until stopped.

    Users and passwords come from TRACE_OCR_FLOWER_BASIC_AUTH or the settings file, never from a flag. Without
    them Flower listens on this machine only. Flower is read-only: steer jobs with trace-ocr.
    """
    serve_flower(settings)
    return ExitCode.OK
