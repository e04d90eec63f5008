"""The workers' metrics, relayed with a label `worker`: one scrape of the API covers every worker."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from contract.broker.process_report import ProcessReport

PREFIXES = ("trace_ocr_", "process_")
"""Prefixes of the metric names that are relayed."""

MAX_SAMPLES = 2_000
"""Maximum number of samples relayed per worker; real workers have a few hundred."""

MAX_LINE = 4_096
"""Maximum characters of one line of metrics; the parser's time grows with their square."""

MAX_LABEL = 256
"""Maximum characters of a label's value, including the worker's name."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def relay(workers: Iterable[ProcessReport], own: Iterable[Metric]) -> list[Metric]:
    """Return the metrics of all workers, each family once; log and omit what cannot be parsed.

    Args:
        own: the system's families, whose names workers must not use
    """
    taken = {name for family in own for name in _names(family)}
    merged: dict[str, Metric] = {}
    for label, worker in labels_of(workers).items():
        try:
            families = list(_parse(worker.metrics))
        # Any exception: the parser documents none for text that is not in Prometheus' format.
        except Exception as error:
            structlog.get_logger().warning("metrics_not_relayed", worker=label, error=repr(error)[:MAX_LABEL])
            continue
        for family in families:
            known = merged.get(family.name)
            if taken.isdisjoint(_names(family)) and (known is None or known.type == family.type):
                target = merged.setdefault(family.name, _without_samples(family))
                target.samples += [_labelled(sample, label) for sample in family.samples]
    return list(merged.values())


def labels_of(workers: Iterable[ProcessReport]) -> dict[str, ProcessReport]:
    """Return the workers by a unique label: the worker's name, with the process id added if two share one.

    A killed worker's report lasts some seconds next to its successor's; the newest has the plain name.
    """
    labelled: dict[str, ProcessReport] = {}
    for worker in sorted(workers, key=lambda worker: worker.started_at, reverse=True):
        name = worker.name if worker.name not in labelled else f"{worker.name}#{worker.pid}"
        labelled.setdefault(name, worker)
    return dict(sorted(labelled.items()))


def _parse(text: str) -> Iterator[Metric]:
    if any(len(line) > MAX_LINE for line in text.splitlines()):
        raise ValueError(f"a line is longer than {MAX_LINE:,} characters")
    seen: Counter[tuple[object, ...]] = Counter()
    for family in text_string_to_metric_families(text):
        # Only prometheus_client exposes when a counter was created, and nothing here uses it.
        if not family.name.startswith(PREFIXES) or family.name.endswith("_created"):
            continue
        samples = []
        for sample in family.samples:
            identity = (sample.name, *sorted(sample.labels.items()))
            seen[identity] += 1
            if seen[identity] == 1 and len(seen) <= MAX_SAMPLES and _is_sound(sample):
                samples.append(sample)
        family.samples = samples
        yield family


def _is_sound(sample: Sample) -> bool:
    return all(map(_NAME.fullmatch, (sample.name, *sample.labels))) and all(
        len(value) <= MAX_LABEL for value in sample.labels.values()
    )


def _names(family: Metric) -> set[str]:
    return {family.name, *(sample.name for sample in family.samples)}


def _without_samples(family: Metric) -> Metric:
    return Metric(family.name, family.documentation[:MAX_LABEL], family.type)


def _labelled(sample: Sample, worker: str) -> Sample:
    return Sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
