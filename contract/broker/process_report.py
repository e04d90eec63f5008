"""What a process writes of itself every few seconds, with the bounds of each field."""

from typing import Annotated, Literal

import msgspec

MAX_METRICS = 1 << 18
"""Maximum length of one process's metrics in characters; typical metrics have some ten thousand."""

MAX_NAME = 256
"""Maximum characters of a process's name, host or device; a host name has at most 253."""

MAX_IN_HAND = 16
"""Most chunks that one report names; a process has two in hand."""

MAX_TROUBLES = 4
"""Most jobs in trouble that one report names."""

Role = Literal["worker", "control"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Figure = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


JobId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


class InHand(msgspec.Struct, frozen=True):
    """A chunk that a worker reads: how many of its items are read, and since when, in Unix seconds."""

    job: JobId
    kind: Text
    chunk: Annotated[int, msgspec.Meta(ge=0)]
    items: Annotated[int, msgspec.Meta(ge=0)]
    since: float


class Trouble(msgspec.Struct, frozen=True):
    """Why a worker's newest runs of a job's chunks wrote no part: the last error, and how many they are."""

    job: JobId
    error: Text
    runs: Annotated[int, msgspec.Meta(ge=1)]


class ProcessReport(msgspec.Struct, frozen=True):
    """The state of one process at one time; times are Unix seconds.

    `progress_age_seconds` is the time since the slowest running chunk last made progress, 0 while none runs.
    `metrics` is Prometheus text. `activity` says what delays the process, such as loading a model.
    `work` names the kind and the models of the chunks in hand, and `pace` is how many items they yield per
    second of reading; only paces of equal work can be compared. `items_per_second` counts everything that was
    read in the last minute, and `busy` is the share of it with a chunk in hand. `troubles` names
    the jobs whose newest run of a chunk wrote no part. `utilisation` and the memory,
    in bytes, are the GPU's; None on CPUs and of older versions.
    """

    name: Name
    role: Role
    pid: Annotated[int, msgspec.Meta(ge=1)]
    host: Name
    device: Text
    started_at: float
    seen_at: float
    progress_age_seconds: Figure = 0.0
    metrics: Annotated[str, msgspec.Meta(max_length=MAX_METRICS)] = ""
    activity: Text = ""
    in_hand: Annotated[tuple[InHand, ...], msgspec.Meta(max_length=MAX_IN_HAND)] = ()
    work: Text = ""
    pace: Figure | None = None
    items_per_second: Figure | None = None
    busy: Share | None = None
    utilisation: Share | None = None
    memory_used: Bytes | None = None
    memory_total: Bytes | None = None
    troubles: Annotated[tuple[Trouble, ...], msgspec.Meta(max_length=MAX_TROUBLES)] = ()
