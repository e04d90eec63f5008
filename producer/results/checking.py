"""The checks of a new job: those that its caller gives, or else those of the settings that suit its kind."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from contract.cascade import models_in
from contract.checks import Checks
from contract.errors import JobError, ObjectMissingError, UnsupportedUriError, UsageError
from contract.kinds import KINDS
from contract.kinds.base import Parameters
from contract.settings import Settings
from contract.storage import Storage, absolute
from contract.storage.roots import AllowedRoots
from producer.results.evaluation.files import Folder, load_report

SUITED = {
    "min_confidence": frozenset({"value", "words"}),
    "expect": frozenset({"value"}),
    "validators": frozenset({"value"}),
}
"""What a kind's lines must say, as `Kind.reads`, so that jobs of it can have a check."""


def check_suited(names: Iterable[str], kind: str) -> None:
    """Raise UsageError for a check that jobs of a kind cannot have: a page has many words, and few fit."""
    for name in names:
        if name in SUITED and KINDS[kind].reads not in SUITED[name]:
            able = " and ".join(one for one in KINDS if KINDS[one].reads in SUITED[name])
            raise UsageError(f"{name}: {kind} jobs cannot have it, {able} jobs can")


def checks_of(
    settings: Settings,
    kind: str,
    parameters: Parameters,
    storage: Storage,
    given: Mapping[str, Any] = MappingProxyType({}),
    roots: AllowedRoots | None = None,
) -> Checks:
    """Return the checks of a new job.

    Args:
        given: explicit values, which must suit the kind; the others come from the settings
        roots: what the workspace of a comparison must lie below; None if everything is allowed

    Raises:
        UsageError: a check does not suit the kind, or its value cannot be used
        OutsideAllowedRootsError: the comparison is outside the roots
    """
    check_suited(given, kind)
    suited = [name for name in SUITED if KINDS[kind].reads in SUITED[name]]
    values = {name: given.get(name, getattr(settings, name)) for name in suited}
    threshold = values.pop("min_confidence", None)
    rules = given.get("fail_if", settings.fail_if)
    return Checks(
        min_confidence=thresholds_of(threshold, parameters, storage, roots), fail_if=rules, **values
    )


def thresholds_of(
    given: str | None, parameters: Parameters, storage: Storage, roots: AllowedRoots | None = None
) -> float | dict[str, float] | None:
    """Return the threshold, or one for each of the job's models; None if nothing is given.

    Args:
        given: a number in 0..1, or the workspace of a comparison
        roots: what the workspace must lie below; None if everything is allowed

    Raises:
        UsageError: it is neither, or the comparison has no threshold for a model
        OutsideAllowedRootsError: the workspace is outside the roots
    """
    if given is None:
        return None
    try:
        number = float(given)
    except ValueError:
        return _compared(given, getattr(parameters, "recognition_model", None), storage, roots)
    if not 0 <= number <= 1:
        raise UsageError(f"min_confidence {given}: a number in 0..1, or the workspace of a comparison")
    return number


def _compared(
    given: str, specification: str | None, storage: Storage, roots: AllowedRoots | None
) -> dict[str, float]:
    if specification is None:
        raise UsageError("min_confidence: jobs of this kind have no confidences")
    try:
        root = roots.recorded(given) if roots else absolute(given)
        report = load_report(Folder(root, storage.at(root)))
    except (ObjectMissingError, JobError, UnsupportedUriError) as error:
        raise UsageError(
            f"min_confidence {given}: neither a number in 0..1 nor a finished comparison"
        ) from error
    found = {
        model.name: model.accuracy.threshold.confidence
        for model in report.models
        if model.accuracy and model.accuracy.threshold
    }
    # The threshold of a whole cascade was found on its own readings; without it, each model has its own.
    wanted = (specification,) if specification in found else models_in(specification)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UsageError(
            f"min_confidence {given}: that comparison has no threshold for {', '.join(missing)}: it had no "
            "truth, did not read with it, or no threshold reached its precision"
        )
    return {name: found[name] for name in wanted}
