"""What ops have to look at is told where readiness is, and does not take it away."""

from tests.conftest import Running
from tests.support.lost_shards import rows


async def test_a_gap_in_a_journal_is_a_warning_and_the_service_stays_ready(
    running: Running,
) -> None:
    await running.service.stores.worker_lease.renew()
    await running.service.health.refresh()
    before = await running.client.get("/readyz", key=None)
    await rows(
        running.service,
        "INSERT INTO journal_gaps (exam, from_version, to_version, epoch, records)"
        " VALUES ('exam-1', 3, 4, 1, 10)",
    )

    await running.service.health.refresh()
    after = await running.client.get("/readyz", key=None)

    assert (before.status, before.json) == (200, {"status": "ok"})
    assert (after.status, after.json) == (200, {"status": "ok", "warnings": ["journal"]})
