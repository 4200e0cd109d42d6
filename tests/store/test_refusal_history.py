"""The history of refusals is bounded, waits for Postgres, and forgets after a day."""

import pytest

from quota_service.app.opening import Service
from quota_service.app.upkeep import kept_fresh
from quota_service.domain.errors import LedgerUnavailable
from quota_service.observability.caller import Caller
from quota_service.observability.metrics import Metrics
from quota_service.registration.refusal_history import RefusalHistory, RefusalLimits
from quota_service.workers.retention import RetentionWorker
from tests.support.lost_shards import rows
from tests.support.patience import LIMIT_S

KEPT = "SELECT candidate, slug, sum(count)::int FROM refusals GROUP BY 1, 2 ORDER BY 1, 2"
BY = Caller("key-1", "request-1")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def small(service: Service, metrics: Metrics) -> RefusalHistory:
    """A history that keeps little."""
    return RefusalHistory(
        service.stores.payments.refusals,
        metrics,
        RefusalLimits(waiting_max=3, batch_max=2, last_writes_s=LIMIT_S),
    )


def refuse(history: RefusalHistory, *candidates: str, slug: str = "sold-out") -> None:
    for candidate in candidates:
        history.add(slug, {"exam": "exam-1"}, candidate, BY)


def dropped(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("quota_refusals_dropped_total")


async def test_refusals_are_added_up_batch_by_batch(service: Service, metrics: Metrics) -> None:
    limits = RefusalLimits(waiting_max=100, batch_max=2)
    history = RefusalHistory(service.stores.payments.refusals, metrics, limits)
    refuse(history, "c-1", "c-1", "c-2", "c-3")
    sizes = [await history.write() for _ in range(3)]
    refuse(history, "c-1")
    refuse(history, "c-1", slug="venue-closed")
    await history.write()

    assert sum(sizes) >= 3
    assert max(sizes) == 2
    assert await rows(service, KEPT) == [
        ("c-1", "sold-out", 3),
        ("c-1", "venue-closed", 1),
        ("c-2", "sold-out", 1),
        ("c-3", "sold-out", 1),
    ]
    assert dropped(metrics) == 0


async def test_an_address_that_postgres_has_no_text_for_keeps_no_other_from_being_written(
    service: Service, small: RefusalHistory, metrics: Metrics
) -> None:
    small.add("unknown-exam", {"exam": "exam-1\0"}, "c-1", BY)
    refuse(small, "c-2")
    await small.write_rest()

    assert await rows(service, KEPT) == [("c-2", "sold-out", 1)]
    assert dropped(metrics) == 0


async def test_while_postgres_cannot_take_them_memory_is_bounded_and_what_is_missing_is_counted(
    service: Service, small: RefusalHistory, metrics: Metrics
) -> None:
    await rows(service, "ALTER TABLE refusals RENAME TO refusals_away")
    refuse(small, "c-1", "c-1", "c-2", "c-3", "c-4", "c-5", "c-5")
    with pytest.raises(LedgerUnavailable):
        await small.write()
    refuse(small, "c-6")

    await rows(service, "ALTER TABLE refusals_away RENAME TO refusals")
    await small.write_rest()

    kept = sum(count for _, _, count in await rows(service, KEPT))
    missing = dropped(metrics)
    assert missing is not None
    assert missing >= 4
    assert kept + missing == 8


async def test_a_process_that_is_stopped_writes_what_is_left(
    service: Service, metrics: Metrics
) -> None:
    history = RefusalHistory(
        service.stores.payments.refusals, metrics, RefusalLimits(last_writes_s=LIMIT_S)
    )
    service.context.refusals.history = history
    async with kept_fresh(service, reports_load=True):
        refuse(history, "c-1", "c-2")

    assert await rows(service, KEPT) == [("c-1", "sold-out", 1), ("c-2", "sold-out", 1)]


async def test_what_is_older_than_a_day_is_neither_shown_nor_kept(
    service: Service, small: RefusalHistory
) -> None:
    payments, worker = service.stores.payments, service.stores.maintenance
    refuse(small, "c-1")
    refuse(small, "c-1", slug="venue-closed")
    await small.write()
    old = "UPDATE refusals SET minute = minute - interval '25 hours' WHERE slug = 'sold-out'"
    await rows(service, old)

    shown = await payments.refusals.of_candidate("exam-1", "c-1", [])
    done = await RetentionWorker(worker, service.settings).run_once()

    assert [refused.slug for refused in shown] == ["venue-closed"]
    assert done["refusals"] == 1
    assert await rows(service, KEPT) == [("c-1", "venue-closed", 1)]
