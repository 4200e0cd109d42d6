"""Postgres turns read-only, fails over to another host, or stays away for long.

The servers of this module are its own, because they are killed.
"""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.payment import PaymentOutcome, PaymentResult
from quota_service.domain.reservation import State
from quota_service.embedded import EmbeddedPostgres
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.lost_shards import check_after
from tests.support.pair_of_postgres import (
    StandbyPostgres,
    count,
    execute,
    multi_host,
    share_password,
)
from tests.support.servers import kill
from tests.support.serving import serving
from tests.support.use_cases import hold, payment, state
from tests.support.waiting import eventually

_TEMPLATE = "postgres"


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("failing-postgres")) as server:
        yield server


@pytest.fixture(scope="module")
async def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    async with open_service(Settings(postgres_dsn=postgres_server.url)) as service:
        await migrate(service.stores.ledger)
    return _TEMPLATE


async def backends(service: Service, number: int) -> set[int]:
    """Return the server processes of so many connections of the pool, lent at once."""
    async with AsyncExitStack() as lent:
        connections = [
            await lent.enter_async_context(service.stores.ledger.connection())
            for _ in range(number)
        ]
        return {connection.get_server_pid() for connection in connections}


@pytest.fixture
async def read_only_switch(settings: Settings) -> AsyncIterator[str]:
    """The statement that lets the server be read-only, also for connections that are open."""
    switch = "ALTER SYSTEM SET default_transaction_read_only = "
    yield switch
    await execute(settings.postgres_dsn, f"{switch}off")
    await execute(settings.postgres_dsn, "SELECT pg_reload_conf()")


async def test_a_server_that_turned_read_only_costs_the_pool_all_its_connections(
    settings: Settings, service: Service, read_only_switch: str
) -> None:
    held = await hold(service)
    before = await backends(service, 4)
    dsn = settings.postgres_dsn

    await execute(dsn, f"{read_only_switch}on")
    await execute(dsn, "SELECT pg_reload_conf()")
    refusals = []

    async def is_refused() -> bool:
        try:
            await service.stores.payments.refunds.mark_returned({"nobody": 1}, 1)
        except LedgerUnavailable as error:
            refusals.append(error.applied)
        return bool(refusals)

    await eventually(is_refused)
    with pytest.raises(LedgerUnavailable) as raised:
        await confirm(service.stores.payments, payment(held))
    waiting = await state(service, held)
    await execute(dsn, f"{read_only_switch}off")
    await execute(dsn, "SELECT pg_reload_conf()")
    end: list[PaymentResult] = []

    async def is_booked() -> bool:
        with suppress(LedgerUnavailable):
            end.append(await confirm(service.stores.payments, payment(held)))
        return bool(end)

    await eventually(is_booked)

    assert (refusals, raised.value.applied) == ([False], False)
    assert waiting is State.CONFIRMING
    assert end[0].outcome is PaymentOutcome.CONFIRMED
    assert before.isdisjoint(await backends(service, 4))
    await check_after(service, booked=1)


@pytest.fixture
async def pair(
    settings: Settings, service: Service, tmp_path: Path
) -> AsyncIterator[tuple[StandbyPostgres, str]]:
    """A standby that knows the exam as the primary does, and its URL."""
    assert service.stores.registry.is_loaded
    with StandbyPostgres(tmp_path / "standby") as server:
        url = await share_password(settings.postgres_dsn, server)
        async with open_service(dataclasses.replace(settings, postgres_dsn=url)) as twin:
            await migrate(twin.stores.ledger)
            await refresh_memory(twin)
            await import_exam(twin.stores.maintenance, make_exam())
        server.stand_by()
        yield server, url


async def test_of_several_hosts_the_primary_is_found_and_after_a_failover_the_promoted_one(
    settings: Settings,
    service: Service,
    postgres_server: EmbeddedPostgres,
    pair: tuple[StandbyPostgres, str],
) -> None:
    _, standby = pair
    for hosts in ([standby, settings.postgres_dsn], [settings.postgres_dsn, standby]):
        both = dataclasses.replace(settings, postgres_dsn=multi_host(*hosts))
        async with open_service(both) as other:
            await refresh_memory(other)
            held = await hold(other, f"candidate-{hosts.index(standby)}")
            await confirm(other.stores.payments, payment(held, f"event-{hosts.index(standby)}"))
    booked = (await count(settings.postgres_dsn, "bookings"), await count(standby, "bookings"))

    async with open_service(both) as failing:
        await refresh_memory(failing)
        held = await hold(failing, "candidate-2")
        kill(postgres_server)
        try:
            with pytest.raises(LedgerUnavailable):
                await confirm(failing.stores.payments, payment(held, "event-2"))
            await execute(standby, "SELECT pg_promote()")
            end: list[PaymentResult] = []

            async def is_booked() -> bool:
                with suppress(LedgerUnavailable):
                    end.append(await confirm(failing.stores.payments, payment(held, "event-2")))
                return bool(end)

            await eventually(is_booked)
            promoted = await count(standby, "bookings")
        finally:
            postgres_server.start()

    assert booked == (2, 0)
    assert end[0].outcome is PaymentOutcome.CONFIRMED
    assert promoted == 1
    assert await state(service, held) is State.CONFIRMED


async def test_while_postgres_stays_away_holds_are_given_up_to_a_bound_and_all_comes_back_alone(
    settings: Settings, service: Service, postgres_server: EmbeddedPostgres
) -> None:
    keys = [
        await service.key_ledger.create(scope.value, frozenset({scope}))
        for scope in (Scope.FRONTEND, Scope.OPS)
    ]
    bounded = dataclasses.replace(settings, payments_pending_max=2)
    async with (
        open_service(bounded) as long_lived,
        serving(long_lived, *keys, workers=True) as run,
    ):
        api = run.client
        held = [(await api.reserve(f"candidate-{n}", venues=("tianjin",))).json for n in range(3)]
        kill(postgres_server)
        try:
            for n, each in enumerate(held):
                still = await api.reserve(f"early-{n}", ("qms",), ("tianjin",))
                unpaid = await api.pay(each, event=f"event-{n}")
                assert (still.status, unpaid.status) == (201, 503)

            async def is_bounded() -> bool:
                return (await api.reserve("late", ("service",))).status == 503

            await eventually(is_bounded)
            refused = await api.reserve("later", ("service",))
            seen = [(await api.get(f"/v1/reservations/{each['id']}")).json for each in held]
        finally:
            postgres_server.start()

        async def is_served() -> bool:
            return (await api.reserve("last", ("service",), ("tianjin",))).status == 201

        await eventually(is_served)
        ends = [await api.pay(each, event=f"event-{n}") for n, each in enumerate(held)]

    assert (refused.slug, refused.json["part"]) == ("not-ready", "ledger")
    assert [each["state"] for each in seen] == ["confirming"] * 3
    assert [end.json["outcome"] for end in ends] == ["confirmed"] * 3
    await check_after(service, booked=3)
