"""The workers: what a round counts, and how much it takes on."""

from collections.abc import Mapping

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import NotReady
from quota_service.domain.reservation import State
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.seats.keys import Shard
from quota_service.workers.expiry import ExpiryLimits, ExpiryWorker
from quota_service.workers.loop import each_of
from quota_service.workers.recovery import RecoveryWorker
from tests.support.exams import make_exam
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state


async def test_the_recovery_worker_counts_what_it_did_and_how_it_ended(service: Service) -> None:
    booked, unbooked = await hold(service), await hold(service, "candidate-2")
    for reservation, line in ((booked, "after commit"), (unbooked, "after attempt")):
        with pytest.raises(DiedError):
            await confirm(
                dying(service.stores, f"confirm: {line}").payments,
                payment(reservation, reservation.id),
            )
    worker = RecoveryWorker(service.stores.payments, service.settings)

    first, second = await worker.run_once(), await worker.run_once()

    counted = {
        result: service.metrics.registry.get_sample_value(
            "quota_recoveries_total", {"result": result}
        )
        for result in ("finished", "unpinned")
    }
    assert counted == {"finished": 1, "unpinned": 1}
    assert {name: n for name, n in first.items() if n} == {"finished": 1, "abandoned": 1}
    assert not any(second.values())


async def test_the_expiry_worker_counts_what_it_gave_back(service: Service) -> None:
    due, later = await hold(service), await hold(service, "candidate-2")
    await move_due(redis_of(service), *service.stores.registry.locate(due.id), ago_ms=3_000)
    worker = ExpiryWorker(service.stores, service.settings)

    first, second = await worker.run_once(), await worker.run_once()

    assert dict(first) == {"expired": 1}
    assert not any(second.values())
    assert (await state(service, due), await state(service, later)) == (
        State.EXPIRED,
        State.HELD,
    )
    sample = service.metrics.registry.get_sample_value
    assert sample("quota_holds_expired_total", {"exam": "exam-1"}) == 1
    lag_s = sample("quota_expiry_lag_seconds_sum") or 0
    assert 3 <= lag_s < 60


async def test_a_worker_takes_five_batches_in_a_round_at_most(service: Service) -> None:
    venues = ["tianjin"] * 5 + ["jinan"] * 2
    held = [await hold(service, f"candidate-{i}", venue) for i, venue in enumerate(venues)]
    for reservation in held:
        await move_due(redis_of(service), *service.stores.registry.locate(reservation.id))
    worker = ExpiryWorker(service.stores, service.settings.with_limits(ExpiryLimits(batch_max=1)))

    rounds = [(await worker.run_once())["expired"] for _ in range(3)]

    assert rounds == [5, 2, 0]


@pytest.mark.parametrize("failure", [NotReady("lost"), ValueError("a record that is torn")])
async def test_a_shard_that_fails_keeps_no_other_waiting_and_is_heard_of(
    service: Service, failure: Exception
) -> None:
    for number in (2, 3):
        await import_exam(service.stores.maintenance, make_exam(f"exam-{number}"))
    served = []

    async def work(shard: Shard) -> Mapping[str, int]:
        if shard.exam == "exam-2":
            raise failure
        served.append(shard.exam)
        return {"done": 1}

    with pytest.raises(type(failure)):
        await each_of(service.stores.registry.open_shards(), work)

    assert sorted(served) == ["exam-1", "exam-3"]
