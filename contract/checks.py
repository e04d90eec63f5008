"""What a caller expects of a job's readings: which go to review, and when the whole job counts as bad."""

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_EXPRESSION = 1000
"""Maximum characters of a regular expression."""

MAX_RULES = 16
"""Maximum rules, and validators, of one job."""

ValidatorName = Literal["iban", "gtin", "vin", "iso6346", "date"]
"""The kinds of values that `producer.results.validators` knows."""

Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_RULE = re.compile(
    r"(errors|review|empty)\s*>\s*(\d{1,12}(?:\.\d{1,6})?)(%?)|(confidence)\s*<\s*([01](?:\.\d{1,6})?)|(drift)"
)


class Rule(NamedTuple):
    """One rule: `measure` may not pass `limit`, a share in 0..1 if `relative`, else a number of items."""

    measure: str
    limit: float
    relative: bool


def parse_rule(text: str) -> Rule:
    """Return a rule such as `errors>5%`, `review>100`, `empty>0.5%`, `confidence<0.9` or `drift`.

    Raises:
        ValueError: it is none
    """
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text[:50]!r} is no rule: errors, review or empty, '>' and a number or a percentage; "
            "'confidence<0.9' for the mean; or 'drift'"
        )
    if found[1]:
        return Rule(found[1], float(found[2]) / (100 if found[3] else 1), bool(found[3]))
    return Rule(found[4], float(found[5]), True) if found[4] else Rule("drift", 0.0, False)


def _rule(text: str) -> str:
    parse_rule(text)
    return text.strip()


RuleText = Annotated[str, Field(max_length=50), AfterValidator(_rule)]


class Checks(BaseModel):
    """The expectations of one job. They decide nothing about its lines; none are dropped.

    `min_confidence` is one threshold, or one for each model by its name. `expect` is a regular expression of
    RE2 that a whole reading must match. A reading must pass one of the `validators`, if there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_confidence: Confidence | dict[str, Confidence] | None = None
    expect: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = None
    validators: Annotated[tuple[ValidatorName, ...], Field(max_length=MAX_RULES)] = ()
    fail_if: Annotated[tuple[RuleText, ...], Field(max_length=MAX_RULES)] = ()

    @property
    def review(self) -> bool:
        """Whether lines are looked at one by one."""
        return self.min_confidence is not None or self.expect is not None or bool(self.validators)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The parsed rules of `fail_if`."""
        return tuple(map(parse_rule, self.fail_if))
