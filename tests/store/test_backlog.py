"""What waits for Postgres has a bound: beyond it no new seats are held, and then they are again."""

import dataclasses

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.use_cases import DiedError, dying, hold, payment, recover


@pytest.mark.parametrize("bound", ["payments_pending_max", "journal_backlog_max"])
async def test_beyond_the_bound_no_new_seats_are_held_until_the_backlog_is_less(
    service: Service, bound: str
) -> None:
    shard = service.stores.registry.shard("exam-1")
    await drain_journal(service.stores.maintenance, shard, 1000, 3)
    held = await hold(service)
    settings = dataclasses.replace(service.settings, **{bound: 0})
    async with open_service(settings) as narrow:
        await refresh_memory(narrow)
        with pytest.raises(DiedError):
            await confirm(dying(narrow.stores, "confirm: after attempt").payments, payment(held))
        await narrow.stores.reservations.backlog.refresh()

        with pytest.raises(LedgerUnavailable):
            await hold(narrow, "candidate-2")
        # What is under way goes on.
        await recover(narrow)
        await confirm(narrow.stores.payments, payment(held))
        await drain_journal(narrow.stores.maintenance, shard, 1000, 3)
        await narrow.stores.reservations.backlog.refresh()

        await hold(narrow, "candidate-2")


async def test_a_shard_is_exported_as_fenced_from_its_loss_until_a_worker_recovered_it(
    service: Service,
) -> None:
    async def fenced() -> float | None:
        await service.stores.reservations.backlog.refresh()
        labels = {"exam": "exam-1"}
        return service.metrics.registry.get_sample_value("quota_shards_fenced", labels)

    before = await fenced()
    await lose_everything(service)
    lost = await fenced()
    await recover_shards(service)
    recovered = await fenced()

    assert (before, lost, recovered) == (0, 1, 0)
