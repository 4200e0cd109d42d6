"""The loop all workers run in: when it pauses, and what it says of failures."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import pytest

from quota_service.observability.metrics import Metrics
from quota_service.workers.loop import ServersApart, WorkerLoop

FOR_EVER_S = 3600.0


class ScriptedWorker:
    """A worker whose rounds end as they are listed; after the last it stops its loop."""

    name = "scripted"

    def __init__(self, *rounds: int | Exception, interval_s: float = 0.0) -> None:
        self.interval_s = interval_s
        self.left = list(rounds)
        self.loop: WorkerLoop | None = None

    async def run_once(self) -> Mapping[str, int]:
        end = self.left.pop(0)
        if not self.left and self.loop is not None:
            self.loop.stop()
        if isinstance(end, Exception):
            raise end
        return {"done": end, "skipped": 0}


async def run(worker: ScriptedWorker) -> Metrics:
    """Run a worker to its last round."""
    metrics = Metrics()
    worker.loop = WorkerLoop(worker, metrics)
    await asyncio.wait_for(worker.loop.run(), timeout=10)
    return metrics


def failures(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("quota_worker_failures_total", {"worker": "scripted"})


@pytest.fixture
def no_pause_after_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quota_service.workers.loop._PAUSE_AFTER_FAILURE_S", 0.0)


async def test_a_round_that_did_something_is_followed_by_the_next_without_a_pause() -> None:
    worker = ScriptedWorker(3, 2, 1, interval_s=FOR_EVER_S)

    await run(worker)

    assert worker.left == []


async def test_a_round_without_work_is_followed_by_a_pause_that_stopping_ends() -> None:
    worker = ScriptedWorker(0, 1, interval_s=FOR_EVER_S)
    loop = WorkerLoop(worker, Metrics())
    running = asyncio.create_task(loop.run())
    for _ in range(20):
        await asyncio.sleep(0)
    left_in_the_pause = list(worker.left)

    loop.stop()
    await asyncio.wait_for(running, timeout=10)

    assert left_in_the_pause == [1]
    assert worker.left == [1]


async def test_a_worker_that_keeps_pace_pauses_though_it_did_something() -> None:
    worker = ScriptedWorker(3, 1, interval_s=FOR_EVER_S)
    loop = WorkerLoop(worker, Metrics(), keeps_pace=True)
    running = asyncio.create_task(loop.run())
    for _ in range(20):
        await asyncio.sleep(0)
    left_in_the_pause = list(worker.left)

    loop.stop()
    await asyncio.wait_for(running, timeout=10)

    assert left_in_the_pause == [1]


async def test_a_loop_that_was_stopped_before_it_began_does_nothing() -> None:
    worker = ScriptedWorker(1)
    loop = WorkerLoop(worker, Metrics())
    loop.stop()

    await loop.run()

    assert worker.left == [1]


@pytest.mark.usefixtures("no_pause_after_failure")
async def test_failing_rounds_are_counted_and_do_not_end_the_loop() -> None:
    worker = ScriptedWorker(ValueError("a"), ValueError("a"), 1, ValueError("b"))

    metrics = await run(worker)

    assert worker.left == []
    assert failures(metrics) == 3


@pytest.mark.usefixtures("no_pause_after_failure")
async def test_a_failure_is_logged_when_its_cause_changes_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = [OSError("away"), OSError("away"), ValueError("odd"), 0, 0, OSError("away")]

    with caplog.at_level(logging.INFO, logger="quota_service.workers.loop"):
        await run(ScriptedWorker(*rounds))

    told = [(record.message, getattr(record, "cause", "")) for record in caplog.records]
    assert told == [
        ("worker round failed", "OSError: away"),
        ("worker round failed", "ValueError: odd"),
        ("worker recovered", ""),
        ("worker round failed", "OSError: away"),
    ]


async def test_a_worker_that_is_always_busy_still_makes_room_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quota_service.workers.loop._BUSY_ROUNDS_MAX", 3)
    worker = ScriptedWorker(*[1] * 10, interval_s=FOR_EVER_S)
    loop = WorkerLoop(worker, Metrics())
    running = asyncio.create_task(loop.run())

    for _ in range(50):
        await asyncio.sleep(0)

    assert len(worker.left) == 6
    loop.stop()
    await asyncio.wait_for(running, timeout=10)


async def test_a_server_that_hangs_is_left_out_of_rounds_until_it_is_done() -> None:
    goes_on = asyncio.Event()
    begun: list[str] = []

    async def work(items: Sequence[str]) -> Mapping[str, int]:
        begun.extend(items)
        if "hangs/1" in items:
            await goes_on.wait()
            raise ValueError("it was away")
        return {"done": len(items)}

    rounds = ServersApart(lambda item: item.partition("/")[0], work)
    first = await rounds.run_once(["hangs/1", "serves/1", "serves/2"])
    second = await rounds.run_once(["hangs/1", "hangs/2", "serves/1"])
    goes_on.set()
    await asyncio.sleep(0)

    assert (first, second) == ({"done": 2}, {"done": 1})
    with pytest.raises(ValueError, match="it was away"):
        await rounds.run_once(["serves/3"])
    assert begun == ["hangs/1", "serves/1", "serves/2", "serves/1", "serves/3"]
    assert await rounds.run_once(["hangs/2"]) == {"done": 1}


async def test_a_server_that_hangs_is_not_waited_for_when_no_other_has_work() -> None:
    goes_on = asyncio.Event()

    async def work(items: Sequence[str]) -> Mapping[str, int]:
        if items == ["hangs"]:
            await goes_on.wait()
        return {"done": 1}

    rounds = ServersApart(str, work)
    async with asyncio.timeout(10):
        first = await rounds.run_once(["hangs"])
        second = await rounds.run_once(["hangs", "serves"])

    goes_on.set()
    assert (first, second) == ({}, {"done": 1})


async def test_of_the_only_server_a_round_waits_for_the_end() -> None:
    async def work(items: Sequence[str]) -> Mapping[str, int]:
        await asyncio.sleep(0.3)
        return {"done": len(items)}

    rounds = ServersApart(lambda _: "", work)

    assert await rounds.run_once(["one", "two"]) == {"done": 2}
