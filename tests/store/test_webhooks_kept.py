"""What is kept of deliveries and told of endpoints, and how deliveries are found among many."""

from quota_service.app.opening import Service
from quota_service.registration.webhook_endpoints import delete_endpoint, disable_endpoint
from tests.support.lost_shards import rows
from tests.support.retirement import retain
from tests.support.webhooks import answering, deliver, endpoint_to, happen, receiving, working

HELD = "reservation.held"
FILLED = 3000
FILL = """
WITH filled AS (
    INSERT INTO events (kind, reservation, candidate, at, data, sequence)
    SELECT 'reservation.held', 'old-' || n, 'c-1', now(), '{}', n
    FROM   generate_series(1, $1::integer) AS n
    RETURNING sequence, reservation
)
INSERT INTO webhook_deliveries (endpoint, sequence, subject)
SELECT $2, sequence, reservation
FROM   filled
RETURNING sequence
"""
READ = """
SELECT (SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables)
     + (SELECT sum(idx_tup_fetch) FROM pg_stat_xact_user_tables)
"""
CALLS = 12
"""More than the five calls after which Postgres may keep a plan for all later ones."""


async def count(service: Service, table: str) -> int:
    [(found,)] = await rows(service, f"SELECT count(*) FROM {table}")  # noqa: S608  of this test
    return int(found)


async def test_deliveries_go_with_their_events_and_with_their_endpoint(service: Service) -> None:
    stores = service.stores.webhooks
    async with receiving() as receiver, working(service) as worker:
        kept, _ = await endpoint_to(service, receiver.url)
        ended, _ = await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-2", HELD), ("r-3", HELD))
        await deliver(worker)
        await delete_endpoint(stores, ended, "it is not needed")
        await rows(service, "DELETE FROM events WHERE sequence < 3 RETURNING id")
        await retain(service)

    left = await rows(service, "SELECT endpoint, sequence FROM webhook_deliveries")
    assert left == [(kept, 3)]
    assert await rows(service, "SELECT id FROM webhook_endpoints") == [(kept,)]
    assert await count(service, "webhook_secrets") == 1


async def test_gauges_tell_how_each_endpoint_stands(service: Service) -> None:
    stores = service.stores.webhooks
    sample = service.metrics.registry.get_sample_value
    async with receiving(answering(500)) as receiver:
        failing, _ = await endpoint_to(service, receiver.url)
        disabled, _ = await endpoint_to(service, receiver.url)
        await disable_endpoint(stores, disabled, "not now")
        await happen(service, ("r-1", HELD))
        async with working(service) as worker:
            await deliver(worker)
        await rows(
            service,
            "UPDATE webhook_endpoints SET failing_since = failing_since - interval '1 h' "
            "WHERE failing_since IS NOT NULL RETURNING id",
        )
        async with working(service) as worker:
            await worker.run_once()

    told = {"endpoint": failing}
    assert sample("quota_webhook_pending", told) == 1
    assert sample("quota_webhook_given_up", told) == 0
    assert (sample("quota_webhook_failing_seconds", told) or 0) >= 3600
    assert sample("quota_webhook_disabled", {"endpoint": disabled, "reason": "ops"}) == 1
    assert sample("quota_webhook_disabled", {"endpoint": failing, "reason": "failing"}) is None
    assert sample("quota_webhook_deliveries_total", {"result": "failed"}) == 1


async def test_due_deliveries_are_looked_up_by_indexes_with_the_plan_of_an_empty_table(
    service: Service,
) -> None:
    endpoint, _ = await endpoint_to(service, "http://127.0.0.1:1/")
    query = service.stores.ledger.query["select_due_webhook_deliveries"]

    async with service.stores.ledger.connection() as connection:
        for _ in range(CALLS):
            await connection.fetch(query, endpoint, [], 100)
        await connection.fetch(FILL, FILLED, endpoint)
        async with connection.transaction():
            before = await connection.fetchval(READ)
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            found = await connection.fetch(query, endpoint, [], 100)
            read = await connection.fetchval(READ) - before

    assert len(found) == 100
    assert read < FILLED
