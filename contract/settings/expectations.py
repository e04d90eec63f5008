"""Settings of what is expected of a job's readings."""

from pydantic import BaseModel, Field

from contract.checks import MAX_EXPRESSION, RuleText, ValidatorName
from contract.settings.lists import Listed


class Expectations(BaseModel):
    """Which readings go to review, and when a job's quality is low."""

    min_confidence: str | None = Field(
        None,
        description="write readings below it to review.jsonl too: 0 to 1, or a comparison's workspace, whose "
        "threshold for the model is taken",
    )
    expect: str | None = Field(
        None,
        max_length=MAX_EXPRESSION,
        description="regular expression (RE2) that whole readings match; others go to review.jsonl too",
    )
    validators: Listed[ValidatorName] = Field(
        (),
        description="comma-separated kinds of values, of which each reading must be one: iban, gtin, vin, "
        "iso6346, date; others go to review.jsonl too",
    )
    fail_if: Listed[RuleText] = Field(
        (),
        description="comma-separated rules that make the quality low and the exit status 4: errors>5%, "
        "review>10%, empty>100, confidence<0.8, drift",
    )
