"""What a comparison found, as `compare.json` holds it. Shares are in 0..1; none is rounded."""

from collections.abc import Mapping, Sequence

import msgspec

from producer.results.evaluation.certainty import CurvePoint, Interval, Threshold
from producer.results.evaluation.measures import Tally
from producer.results.evaluation.truth import TruthCounts


class Share(msgspec.Struct, frozen=True):
    """Right ones of some, with the share's 95% interval."""

    right: int
    total: int
    share: float | None
    interval: Interval

    @classmethod
    def of(cls, tally: Tally) -> "Share":
        """Return a tally as it is reported."""
        return cls(tally.right, tally.total, tally.share, tally.interval)


class Confusion(msgspec.Struct, frozen=True):
    """A character of the truth and what was read for it; one of both is empty if nothing stood there."""

    truth: str
    read: str
    count: int


class Speed(msgspec.Struct, frozen=True):
    """What a model cost on its device, per process; `estimated` if it is the sum of a cascade's parts."""

    device_seconds: float
    crops_per_second: float
    device_seconds_per_million: float
    estimated: bool = False


class Accuracy(msgspec.Struct, frozen=True):
    """One model's readings against the truth.

    `outside_vocabulary` counts truths with a character that the model cannot read, and `within_vocabulary` is
    the accuracy on the others; both are None if its vocabulary is unknown. `threshold` is None if no
    confidence reaches the target precision.
    """

    exact: Share
    caseless: float | None
    anyascii: float | None
    unicase: float | None
    cer: float | None
    wer: float | None
    one_minus_ned: float | None
    outside_vocabulary: int | None
    within_vocabulary: Share | None
    threshold: Threshold | None
    risk_coverage: tuple[CurvePoint, ...]
    by_length: dict[str, Share]
    by_group: dict[str, Share]
    by_class: dict[str, Share]
    kinds_of_error: dict[str, int]
    confusions: tuple[Confusion, ...]


class ModelReport(msgspec.Struct, frozen=True):
    """One model or cascade; `passed_on` crops were read by the cascade's second model."""

    name: str
    mean_confidence: float | None
    accuracy: Accuracy | None = None
    speed: Speed | None = None
    passed_on: int | None = None


class PairReport(msgspec.Struct, frozen=True):
    """Two models: the share of crops that they read alike, and what only one of them read right.

    `p_value` is of McNemar's exact test; None without a truth.
    """

    first: str
    second: str
    agreement: float | None
    only_first_right: int | None = None
    only_second_right: int | None = None
    p_value: float | None = None


class CropCounts(msgspec.Struct, frozen=True):
    """Crops by what became of them; `not_joined` ones are not in all of several workspaces."""

    read: int
    with_truth: int
    without_truth: int
    disagreements: int
    failed: int = 0
    not_joined: int = 0


class Judged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's reading of one crop, and how it differs from the truth, if there is one and it does."""

    model: str
    value: str
    confidence: float
    right: bool | None = None
    error: str | None = None


class Disagreement(msgspec.Struct, frozen=True, omit_defaults=True):
    """One crop that a model read wrong, or that the models read differently: a line of `disagreements.jsonl`.

    `contest` is the share of the models' summed confidence that is not on the strongest text.
    """

    id: str
    name: str
    readings: tuple[Judged, ...]
    contest: float
    truth: str | None = None


class Report(msgspec.Struct, frozen=True):
    """Everything in `compare.json`.

    Args:
        title: the job's id, or those of the evaluated workspaces
        by: what accuracy is also reported by
        truth: how the truth file fits; None without one
        notes: what a reader must know before trusting a figure
        definitions: of each measure, by its name in this file
        checkpoints: the identity of every model that read, as in `summary.json`
    """

    title: str
    target_precision: float
    by: str | None
    crops: CropCounts
    truth: TruthCounts | None
    notes: tuple[str, ...]
    models: tuple[ModelReport, ...]
    pairs: tuple[PairReport, ...]
    checkpoints: Sequence[Mapping[str, str]]
    definitions: Mapping[str, str]
