"""Optional packages: an error that says what to install if one is missing."""

import importlib.util

from contract.errors import TraceOcrError


def require(package: str, extra: str, need: str, missing: type[TraceOcrError]) -> None:
    """Raise an error if an optional package is not installed.

    Args:
        package: the package's name in imports
        extra: the extra of this product that has it
        need: what needs it, in plural, for the message
        missing: the error to raise
    """
    if importlib.util.find_spec(package) is None:
        raise missing(f"{need} need {package} on this machine: pip install 'trace-ocr-batch[{extra}]'")
