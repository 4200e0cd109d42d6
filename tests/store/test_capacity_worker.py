"""The capacity worker looks again only where something may have changed."""

import pytest

from quota_service.app.opening import Service
from quota_service.domain.exam import Quota
from quota_service.registration.import_exam import import_exam
from quota_service.seats.store import SeatStore
from quota_service.workers.capacity import CapacityWorker
from tests.support.exams import SEATS, make_exam


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The exams whose quotas were read."""
    read: list[str] = []
    snapshot = SeatStore.snapshot

    async def reading(store: SeatStore, shard: object) -> object:
        read.append(str(shard))
        return await snapshot(store, shard)  # type: ignore[arg-type]

    monkeypatch.setattr(SeatStore, "snapshot", reading)
    return read


class Clock:
    """A clock whose seconds pass when it is read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


async def test_an_exam_that_was_level_is_not_read_again_while_its_shard_takes_no_step(
    service: Service, snapshots: list[str]
) -> None:
    clock = Clock()
    worker = CapacityWorker(service.stores, clock)
    shard, lowered = service.stores.registry.shard("exam-1"), Quota("jinan", "general")

    for _ in range(3):
        await worker.run_once()
        clock.now_s += 100
    unchanged = len(snapshots)
    await service.stores.seats.set_capacity(shard, {lowered: 1})
    done = await worker.run_once()

    assert unchanged == 1
    assert done == {"finished": 1}
    assert (await service.stores.seats.snapshot(shard)).capacity[lowered] == 3


async def test_a_shard_that_takes_steps_is_read_the_less_often_the_longer_that_takes(
    service: Service, snapshots: list[str]
) -> None:
    clock = Clock()
    worker = CapacityWorker(service.stores, clock)
    shard, qms = service.stores.registry.shard("exam-1"), Quota("jinan", "qms")
    read = []

    for n in range(3):
        await worker.run_once()
        read.append(len(snapshots))
        await service.stores.seats.set_capacity(shard, {qms: 3})
        await service.stores.seats.set_capacity(shard, {qms: 2})
        clock.now_s += 20 * n

    assert read == [1, 1, 2]


async def test_a_new_definition_is_compared_at_once(service: Service, snapshots: list[str]) -> None:
    worker = CapacityWorker(service.stores, Clock())
    await worker.run_once()
    more = make_exam(seats={**SEATS, "xian": {"general": 4}})
    await import_exam(service.stores.maintenance, more)
    before = len(snapshots)

    done = await worker.run_once()

    assert done == {"finished": 0}
    assert len(snapshots) == before + 1
