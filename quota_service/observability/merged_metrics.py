"""One set of metrics for several processes: what workers counted, and what their supervisor knows.

Counters and histograms are summed over every worker there ever was, so a total never goes down
when a worker is replaced. Gauges speak of workers that live now, each in the way it declares.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from quota_service.observability.shared_values import Series, SharedValues

Labels = tuple[tuple[str, str], ...]
_Samples = dict[tuple[str, Labels], float]

_GAUGE_MODES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "sum": sum,
    "livesum": sum,
    "min": min,
    "livemin": min,
    "max": max,
    "livemax": max,
}
"""How gauges of several workers become one; any other mode leaves each with a label `worker`."""

_OWN_CLOCK = "_created"
"""Samples that tell when a process first counted; they mean nothing of several processes."""


class PastCounts:
    """What workers counted that have ended."""

    def __init__(self) -> None:
        self._counts: dict[Series, float] = defaultdict(float)

    def add(self, ended: SharedValues) -> None:
        """Keep the counts of a worker; its gauges went with it."""
        for series, value in ended.read():
            if series.kind != "gauge":
                self._counts[series] += value

    def read(self) -> Iterable[tuple[Series, float]]:
        """Return every count."""
        return self._counts.items()


def merge(
    own: CollectorRegistry,
    past: PastCounts,
    workers: Mapping[int, SharedValues],
) -> list[Metric]:
    """Return the metrics of a supervisor (`own`) with those of its workers, by worker number."""
    counts: dict[Series, float] = defaultdict(float)
    gauges: dict[Series, dict[int, float]] = defaultdict(dict)
    for series, value in past.read():
        counts[series] += value
    for number, values in workers.items():
        for series, value in values.read():
            if series.kind != "gauge":
                counts[series] += value
            else:
                gauges[series][number] = value
    counted = _counted_samples(counts)
    seen = _gauge_samples(gauges)
    return [_merged(family, counted, seen) for family in own.collect()]


def process_metrics(pids: Mapping[str, int]) -> list[Metric]:
    """Return memory, time and descriptors of processes, each with its name as label `worker`."""
    families: dict[str, Metric] = {}
    for name, pid in pids.items():
        for family in _collector(pid).collect():
            kept = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                kept.add_sample(sample.name, {"worker": name, **sample.labels}, sample.value)
    return list(families.values())


class Families(Collector):
    """Hands metrics that are made already to an encoder, which asks a registry for them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._families


def _merged(own: Metric, counted: Mapping[str, _Samples], seen: Mapping[str, _Samples]) -> Metric:
    samples: _Samples = {}
    if own.name not in seen:
        for sample in own.samples:
            if not sample.name.endswith(_OWN_CLOCK):
                samples[sample.name, _sorted(sample.labels.items())] = sample.value
    for key, value in counted.get(own.name, {}).items():
        samples[key] = samples.get(key, 0.0) + value
    samples.update(seen.get(own.name, {}))
    merged = Metric(own.name, own.documentation, own.type)
    for (name, labels), value in samples.items():
        merged.add_sample(name, dict(labels), value)
    return merged


def _counted_samples(counts: Mapping[Series, float]) -> dict[str, _Samples]:
    """Return the samples of counters and histograms by metric, buckets made cumulative."""
    samples: dict[str, _Samples] = defaultdict(dict)
    buckets: dict[tuple[str, Labels], list[tuple[float, str, float]]] = defaultdict(list)
    for series, value in counts.items():
        labels = dict(series.labels)
        if series.sample.endswith("_bucket"):
            bound = labels.pop("le")
            buckets[series.metric, _sorted(labels.items())].append((float(bound), bound, value))
        else:
            samples[series.metric][series.sample, _sorted(labels.items())] = value
    for (metric, labels_of), counted in buckets.items():
        total = 0.0
        for _, bound, value in sorted(counted):
            total += value
            samples[metric][f"{metric}_bucket", _sorted([*labels_of, ("le", bound)])] = total
        samples[metric][f"{metric}_count", labels_of] = total
    return samples


def _gauge_samples(gauges: Mapping[Series, Mapping[int, float]]) -> dict[str, _Samples]:
    samples: dict[str, _Samples] = defaultdict(dict)
    for series, by_worker in gauges.items():
        one = _GAUGE_MODES.get(series.mode)
        if one is not None:
            samples[series.metric][series.sample, _sorted(series.labels)] = one(by_worker.values())
            continue
        for number, value in by_worker.items():
            labels = _sorted([*series.labels, ("worker", str(number))])
            samples[series.metric][series.sample, labels] = value
    return samples


def _sorted(labels: Iterable[tuple[str, str]]) -> Labels:
    return tuple(sorted(labels))


def _collector(pid: int) -> ProcessCollector:
    return ProcessCollector(pid=lambda: pid, registry=None)
