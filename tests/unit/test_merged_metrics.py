"""One set of metrics for several processes: sums that never go down, gauges of those that live."""

import itertools
import os
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, values

from quota_service.observability.merged_metrics import PastCounts, merge
from quota_service.observability.shared_values import SharedValues, count_in, open_memory

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]
ROUTES = ("method", "route")


class Process:
    """The metrics of one process, in private memory or in one that is shared.

    Labels get their place when they are first used, so each use says first whose it is.
    """

    def __init__(self, memory: SharedValues | None = None) -> None:
        self._memory = memory
        self._count_here()
        self.registry = registry = CollectorRegistry()
        self._sold = Counter("sold", "Sold.", ("exam",), registry=registry)
        self._wait = Histogram("wait", "Wait.", ROUTES, buckets=(1, 10), registry=registry)
        self._up = Gauge("up", "Up.", ("store",), multiprocess_mode="livemin", registry=registry)
        self.peak = Gauge("peak", "Peak.", multiprocess_mode="livemax", registry=registry)
        self.streams = Gauge("streams", "Streams.", multiprocess_mode="livesum", registry=registry)
        self.limit = Gauge("limit", "Limit.", registry=registry)

    def sell(self, exam: str, count: int = 1) -> None:
        self._count_here()
        self._sold.labels(exam).inc(count)

    def wait(self, *waited_s: float) -> None:
        self._count_here()
        for each in waited_s:
            self._wait.labels("GET", "/").observe(each)

    def reach(self, store: str, *, is_up: bool) -> None:
        self._count_here()
        self._up.labels(store).set(is_up)

    def _count_here(self) -> None:
        if self._memory is None:
            values.ValueClass = values.MutexValue
        else:
            count_in(self._memory)


Workers = list[tuple[Process, SharedValues]]


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    return Process()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Three workers, and their memory as the supervisor sees it."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    made = []
    for _ in range(3):
        descriptor = open_memory(65_536)
        writer, reader = SharedValues(descriptor), SharedValues(descriptor)
        os.close(descriptor)
        made.append((writer, reader))
    yield [(Process(writer), reader) for writer, reader in made]
    for each in itertools.chain(*made):
        each.close()


def found(families: list[Metric]) -> Found:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def merged(
    supervisor: Process,
    past: PastCounts,
    live: Mapping[int, SharedValues],
) -> Found:
    return found(merge(supervisor.registry, past, live))


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_counters_and_histograms_are_summed_over_supervisor_and_workers(
    supervisor: Process, workers: Workers
) -> None:
    everyone = [supervisor, *(process for process, _ in workers)]
    for process in everyone:
        process.sell("a", 2)
        process.wait(0.5, 5, 50)
    workers[1][0].sell("b")

    seen = merged(supervisor, PastCounts(), {i: memory for i, (_, memory) in enumerate(workers)})

    route = {"method": "GET", "route": "/"}
    assert seen[key("sold_total", exam="a")] == 8
    assert seen[key("sold_total", exam="b")] == 1
    assert seen[key("wait_bucket", **route, le="1.0")] == 4
    assert seen[key("wait_bucket", **route, le="10.0")] == 8
    assert seen[key("wait_bucket", **route, le="+Inf")] == 12
    assert seen[key("wait_count", **route)] == 12
    assert seen[key("wait_sum", **route)] == 4 * 55.5
    assert not any(name.endswith("_created") for name, _ in seen)


def test_each_gauge_becomes_one_in_the_way_it_declares(
    supervisor: Process, workers: Workers
) -> None:
    for process in (supervisor, *(process for process, _ in workers)):
        process.reach("redis", is_up=True)
    for number, (process, _) in enumerate(workers, start=1):
        process.peak.set(number)
        process.streams.set(number)
        process.limit.set(number * 10)
    workers[2][0].reach("redis", is_up=False)

    live = {i: memory for i, (_, memory) in enumerate(workers, start=1)}
    seen = merged(supervisor, PastCounts(), live)

    assert seen[key("up", store="redis")] == 0
    assert seen[key("peak")] == 3
    assert seen[key("streams")] == 6
    assert {k: n for k, n in seen.items() if k[0] == "limit"} == {
        key("limit", worker="1"): 10,
        key("limit", worker="2"): 20,
        key("limit", worker="3"): 30,
    }


def test_what_a_worker_counted_outlives_it_and_its_gauges_do_not(
    supervisor: Process, workers: Workers
) -> None:
    past = PastCounts()
    for process, _ in workers:
        process.sell("a")
        process.wait(5)
        process.streams.set(4)
    before = merged(supervisor, past, {i: memory for i, (_, memory) in enumerate(workers)})

    past.add(workers[0][1])
    past.add(workers[1][1])
    after = merged(supervisor, past, {2: workers[2][1]})

    assert after[key("sold_total", exam="a")] == 3
    assert {k: n for k, n in after.items() if k[0].startswith("wait")} == {
        k: n for k, n in before.items() if k[0].startswith("wait")
    }
    assert before[key("streams")] == 12
    assert after[key("streams")] == 4


def test_a_gauge_that_no_worker_has_is_the_supervisors(supervisor: Process) -> None:
    supervisor.reach("redis", is_up=True)

    assert merged(supervisor, PastCounts(), {})[key("up", store="redis")] == 1
