"""Values in shared memory: what one process counts another reads, whatever becomes of the first."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from quota_service.observability.shared_values import (
    Series,
    SharedValues,
    count_in,
    open_memory,
)

MakeMemory = Callable[[int], tuple[SharedValues, SharedValues]]


@pytest.fixture
def memory() -> Iterator[MakeMemory]:
    """Makes a memory as its writer and as its reader see it."""
    made = []

    def make(size_bytes: int = 65_536) -> tuple[SharedValues, SharedValues]:
        descriptor = open_memory(size_bytes)
        writer, reader = SharedValues(descriptor), SharedValues(descriptor)
        os.close(descriptor)
        made.extend((writer, reader))
        return writer, reader

    yield make
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def private_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next test count in memory of its own again."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)


def counter_series(name: str, **labels: str) -> Series:
    return Series(name, "counter", "", f"{name}_total", tuple(labels.items()))


def test_what_is_counted_is_read_with_its_name_its_kind_and_its_labels(memory: MakeMemory) -> None:
    writer, reader = memory(65_536)
    count_in(writer)
    registry = CollectorRegistry()
    counter = Counter("seats", "Seats.", ("exam",), registry=registry)
    gauge = Gauge("streams", "Streams.", multiprocess_mode="livesum", registry=registry)
    histogram = Histogram("wait", "Wait.", buckets=(1, 2), registry=registry)

    counter.labels(exam='odd "名"\n').inc(2)
    gauge.set(7)
    gauge.dec(3)
    for waited_s in (0.5, 1, 1.5, 9):
        histogram.observe(waited_s)

    assert dict(reader.read()) == {
        counter_series("seats", exam='odd "名"\n'): 2,
        Series("streams", "gauge", "livesum", "streams", ()): 4,
        Series("wait", "histogram", "", "wait_sum", ()): 12,
        Series("wait", "histogram", "", "wait_bucket", (("le", "1.0"),)): 2,
        Series("wait", "histogram", "", "wait_bucket", (("le", "2.0"),)): 1,
        Series("wait", "histogram", "", "wait_bucket", (("le", "+Inf"),)): 1,
    }


def test_what_a_killed_process_counted_stands(memory: MakeMemory) -> None:
    writer, reader = memory(65_536)
    pid = os.fork()
    if pid == 0:
        count_in(writer)
        counter = Counter("seats", "Seats.", registry=CollectorRegistry())
        for _ in range(1000):
            counter.inc()
        os.kill(os.getpid(), signal.SIGKILL)

    _, status = os.waitpid(pid, 0)

    assert os.WTERMSIG(status) == signal.SIGKILL
    assert dict(reader.read()) == {counter_series("seats"): 1000}


def test_a_reader_sees_what_was_added_since_it_read_last(memory: MakeMemory) -> None:
    writer, reader = memory(65_536)
    count_in(writer)
    counter = Counter("seats", "Seats.", ("exam",), registry=CollectorRegistry())

    counter.labels(exam="a").inc()
    first = dict(reader.read())
    counter.labels(exam="a").inc()
    counter.labels(exam="b").inc()

    assert first == {counter_series("seats", exam="a"): 1}
    assert dict(reader.read()) == {
        counter_series("seats", exam="a"): 2,
        counter_series("seats", exam="b"): 1,
    }


def test_labels_that_were_removed_and_come_again_count_on_in_the_same_place(
    memory: MakeMemory,
) -> None:
    writer, reader = memory(65_536)
    count_in(writer)
    counter = Counter("seats", "Seats.", ("exam",), registry=CollectorRegistry())

    counter.labels(exam="a").inc()
    counter.remove("a")
    counter.labels(exam="a").inc()

    assert dict(reader.read()) == {counter_series("seats", exam="a"): 2}


def test_a_full_memory_is_said_once_and_the_process_counts_on_by_itself(
    memory: MakeMemory, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = memory(4096)
    count_in(writer)
    registry = CollectorRegistry()
    counter = Counter("seats", "Seats.", ("exam",), registry=registry)

    for i in range(200):
        counter.labels(exam=f"exam-{i}").inc()
    counter.labels(exam="exam-199").inc()

    shared = dict(reader.read())
    assert 10 < len(shared) < 200
    assert set(shared.values()) == {1}
    assert registry.get_sample_value("seats_total", {"exam": "exam-199"}) == 2
    assert [record.message for record in caplog.records] == ["no room for further metrics"]


@given(
    names=st.lists(st.text(min_size=0, max_size=40), min_size=1, max_size=30, unique=True),
    amounts=st.lists(st.integers(0, 29), max_size=60),
)
def test_every_name_has_a_place_of_its_own_whatever_its_length(
    names: list[str], amounts: list[int]
) -> None:
    descriptor = open_memory(65_536)
    writer, reader = SharedValues(descriptor), SharedValues(descriptor)
    os.close(descriptor)
    expected = dict.fromkeys(names, 0.0)
    for choice in amounts:
        name = names[choice % len(names)]
        cells, place = writer.place(counter_series("seats", exam=name))
        cells[place] += 1
        expected[name] += 1
        assert dict(reader.read()) == {
            counter_series("seats", exam=each): expected[each]
            for each in expected
            if expected[each]
        }
