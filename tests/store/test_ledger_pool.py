"""The pool: every wait has an end, every failure a name, and a lost answer is looked up."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from quota_service.domain.errors import EventIdReused, LedgerUnavailable
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.ledger.confirmations import PaymentDecision, RecordedPayment
from quota_service.ledger.errors import LedgerRefused
from quota_service.ledger.pool import Ledger, open_ledger
from quota_service.ledger.reading import LedgerReader
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings
from tests.support.ledgers import BOOKED, LedgerUnderTest, open_books
from tests.support.patience import LIMIT_S
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import eventually, insisting

BOUND_S = LIMIT_S / 2
"""Longer than all waits of a hasty ledger together; what takes longer waits without an end."""

HOLD_ATTEMPT = "INSERT INTO settled_pins (reservation, pin) VALUES ($1, 'attempt-1')"


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    """A proxy before the test's database."""
    async with proxied(settings.postgres_dsn) as opened:
        yield opened


@pytest.fixture
def hasty(settings: Settings, proxy: Proxy) -> Settings:
    """Settings with short waits for an answer, through the proxy."""
    return dataclasses.replace(
        settings,
        postgres_dsn=proxy.in_front_of(settings.postgres_dsn),
        postgres_command_timeout_s=2,
        postgres_pool_max=2,
    )


@pytest.fixture
def crowded(settings: Settings) -> Settings:
    """Settings with short waits for one of two connections."""
    return dataclasses.replace(settings, postgres_acquire_timeout_s=0.2, postgres_pool_max=2)


@asynccontextmanager
async def all_lent(ledger: Ledger) -> AsyncIterator[None]:
    """Lend both connections of a pool, however long it takes to open them."""
    async with AsyncExitStack() as lent:
        for _ in range(2):
            await insisting(
                lambda: lent.enter_async_context(ledger.connection()), LedgerUnavailable
            )
        yield


async def count(books: LedgerUnderTest, table: str) -> int:
    ((rows,),) = await books.rows(f"SELECT count(*) FROM {table}")  # noqa: S608
    return int(rows)


async def test_when_every_connection_is_lent_the_wait_ends_in_time(crowded: Settings) -> None:
    async with open_ledger(crowded, Metrics()) as ledger, all_lent(ledger):
        with pytest.raises(LedgerUnavailable) as raised:
            async with asyncio.timeout(BOUND_S):
                await ledger.fetch("select_api_keys")

    assert raised.value.applied is False


async def test_a_wait_that_ends_without_a_connection_is_measured_as_the_wait_it_was(
    crowded: Settings,
) -> None:
    """Those waits are the longest there are: a pool that is used up would look idle."""
    metrics = Metrics()
    measured = metrics.registry.get_sample_value
    name = "quota_postgres_pool_wait_seconds"
    async with open_ledger(crowded, metrics) as ledger, all_lent(ledger):
        before = measured(f"{name}_count"), measured(f"{name}_sum")
        with pytest.raises(LedgerUnavailable):
            await ledger.fetch("select_api_keys")
        after = measured(f"{name}_count"), measured(f"{name}_sum")

    assert None not in (*before, *after)
    (count_before, sum_before), (count_after, sum_after) = before, after
    assert count_after - count_before == 1
    assert sum_after - sum_before >= crowded.postgres_acquire_timeout_s * 0.9


async def test_a_connection_given_back_serves_whoever_waits(settings: Settings) -> None:
    few = dataclasses.replace(settings, postgres_pool_max=2)
    async with open_ledger(few, Metrics()) as ledger:
        found = await asyncio.gather(*(ledger.fetch("select_api_keys") for _ in range(20)))

    assert found == [[]] * 20


async def test_a_postgres_that_is_away_is_unavailable_when_asked_and_not_before() -> None:
    settings = Settings(postgres_dsn="postgresql://quota@127.0.0.1:1/quota")

    async with open_ledger(settings, Metrics()) as ledger:
        with pytest.raises(LedgerUnavailable):
            await ledger.fetch("select_api_keys")


async def test_a_database_that_is_not_there_is_unavailable(settings: Settings) -> None:
    elsewhere = dataclasses.replace(settings, postgres_dsn=settings.postgres_dsn + "_absent")

    async with open_ledger(elsewhere, Metrics()) as ledger:
        with pytest.raises(LedgerUnavailable):
            await ledger.fetch("select_api_keys")


async def test_a_statement_that_takes_too_long_is_unavailable_and_its_connection_works_again(
    hasty: Settings,
) -> None:
    async with open_ledger(hasty, Metrics()) as ledger:
        with pytest.raises(LedgerUnavailable):
            async with ledger.transaction() as connection:
                await connection.execute("SELECT pg_sleep(60)")
        found = await ledger.fetch("select_api_keys")

    assert found == []


async def test_a_cancelled_transaction_leaves_nothing_and_its_connection_works_again(
    books: LedgerUnderTest,
) -> None:
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"

    async def transaction() -> None:
        async with books.ledger.transaction() as connection:
            await connection.execute("UPDATE quotas SET capacity = capacity + 1")
            await connection.execute("SELECT pg_sleep(60)")

    async def sleeps() -> bool:
        return bool(await books.rows(f"{sleeping} AND wait_event = 'PgSleep'"))

    task = asyncio.create_task(transaction())
    await eventually(sleeps)

    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert await books.rows("SELECT 1 FROM quotas WHERE subject = 'ems' AND capacity = 3") == []
    assert await books.book() == BOOKED


async def test_what_a_failed_block_wrote_is_undone(books: LedgerUnderTest) -> None:
    with pytest.raises(EventIdReused):  # noqa: PT012  the block is what is tested
        async with books.ledger.transaction() as connection:
            await connection.execute("UPDATE quotas SET capacity = 99")
            raise EventIdReused

    assert await books.rows("SELECT 1 FROM quotas WHERE capacity = 99") == []


async def test_an_error_keeps_its_cause_and_is_not_its_own(books: LedgerUnderTest) -> None:
    with pytest.raises(LedgerRefused) as refused:
        async with books.ledger.transaction() as connection:
            await connection.execute("UPDATE quotas SET confirmed = capacity + 1")
    ours = EventIdReused()
    with pytest.raises(EventIdReused):
        async with books.ledger.connection():
            raise ours

    assert isinstance(refused.value.__cause__, asyncpg.CheckViolationError)
    assert ours.__cause__ is None


@pytest.mark.parametrize("while_lent", [True, False])
async def test_a_connection_the_server_has_closed_costs_one_call_at_most(
    books: LedgerUnderTest, *, while_lent: bool
) -> None:
    async with open_ledger(books.settings, Metrics()) as other, other.connection() as killer:
        async with books.ledger.connection() as connection:
            pid = connection.get_server_pid()
            if while_lent:
                await killer.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        if not while_lent:
            await killer.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    verdict = books.booking(books.reservation())

    ends = [
        (await asyncio.gather(books.confirmations.settle(verdict), return_exceptions=True))[0]
        for _ in range(2)
    ]

    assert isinstance(ends[0], RecordedPayment | LedgerUnavailable)
    assert isinstance(ends[1], RecordedPayment)


async def test_a_read_only_server_is_unavailable_and_left_when_it_can_write_again(
    books: LedgerUnderTest,
) -> None:
    name = books.settings.postgres_dsn.rpartition("/")[2]
    switch = f"ALTER DATABASE {name} SET default_transaction_read_only = "
    async with books.ledger.connection() as connection:
        await connection.execute(f"{switch}on")
    async with open_books(books.settings, books.exam) as fresh:
        verdict = fresh.booking(fresh.reservation())
        with pytest.raises(LedgerUnavailable) as raised:
            await fresh.confirmations.settle(verdict)
        async with books.ledger.connection() as connection:
            await connection.execute(f"{switch}off")

        settled = await fresh.confirmations.settle(verdict)

    assert raised.value.applied is False
    assert settled == BOOKED


async def test_a_frozen_server_is_unavailable_in_time_and_others_are_served(
    hasty: Settings, proxy: Proxy
) -> None:
    async with open_ledger(hasty, Metrics()) as ledger:
        await ledger.fetch("select_api_keys")
        proxy.freeze()
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(LedgerUnavailable) as raised:
                async with ledger.transaction() as connection:
                    await connection.execute("UPDATE quotas SET capacity = 99")
        found = await ledger.fetch("select_api_keys")

    assert raised.value.applied is False
    assert found == []


async def test_what_was_read_counts_though_the_connection_is_lost_when_given_back(
    hasty: Settings, proxy: Proxy
) -> None:
    async with open_ledger(hasty, Metrics()) as ledger:
        async with asyncio.timeout(BOUND_S), ledger.connection() as connection:
            found = await connection.fetchval("SELECT 42")
            proxy.freeze()
        # Giving back asks the server nothing: whoever comes next finds it out, and once.
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(LedgerUnavailable):
                await ledger.fetch("select_api_keys")
            again = await ledger.fetch("select_api_keys")

    assert (found, again) == (42, [])


async def test_closing_does_not_wait_for_a_server_that_is_frozen(
    crowded: Settings, proxy: Proxy
) -> None:
    behind = dataclasses.replace(crowded, postgres_dsn=proxy.in_front_of(crowded.postgres_dsn))
    async with asyncio.timeout(BOUND_S), open_ledger(behind, Metrics()) as ledger:
        await insisting(lambda: ledger.fetch("select_api_keys"), LedgerUnavailable)

        proxy.freeze()


async def test_a_commit_whose_answer_is_lost_is_looked_up_and_found(
    settings: Settings, hasty: Settings, proxy: Proxy
) -> None:
    lines: list[str] = []

    def failpoint(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:  # the first has let the connection prepare the call
            proxy.lose_answers()

    async with open_books(hasty, failpoint=failpoint) as books:
        await books.book("candidate-9", ("general",), "tianjin")
        verdicts = [books.booking(books.reservation(f"candidate-{i}")) for i in range(3)]

        ends = await asyncio.gather(*map(books.confirmations.settle, verdicts))

    assert ends == [RecordedPayment(PaymentOutcome.CONFIRMED, None, repeated=True)] * 3
    assert lines == ["confirm: before commit"] * 2
    async with open_books(settings, books.exam) as patient:
        assert await count(patient, "bookings") == 4
        await patient.check_books()


async def test_a_commit_that_never_arrived_is_looked_up_and_of_unknown_end(
    hasty: Settings, proxy: Proxy
) -> None:
    def failpoint(line: str) -> None:
        if line == "confirm: before commit":
            proxy.freeze()

    async with open_books(hasty, failpoint=failpoint) as books:
        verdict = books.booking(books.reservation())
        with pytest.raises(LedgerUnavailable) as raised:
            await books.confirmations.settle(verdict)

        assert raised.value.applied is None
        assert await count(books, "payment_events") == 0


async def test_a_refund_whose_answer_is_lost_is_looked_up_and_found(
    settings: Settings, hasty: Settings, proxy: Proxy
) -> None:
    lines: list[str] = []

    def failpoint(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:  # the booking; the second payment
            proxy.lose_answers()

    async with open_books(hasty, failpoint=failpoint) as books:
        reservation = books.reservation()
        await books.confirmations.settle(books.booking(reservation))

        end = await books.confirmations.settle(books.booking(reservation))

    assert end == RecordedPayment(
        PaymentOutcome.REFUND_DUE, RefundReason.ALREADY_PAID, repeated=True
    )
    async with open_books(settings, books.exam) as patient:
        await patient.check_books()


async def test_a_call_whose_connection_is_ended_is_looked_up_and_of_unknown_end(
    books: LedgerUnderTest,
) -> None:
    verdict = books.booking(books.reservation())
    async with books.ledger.transaction() as holder:
        await holder.execute(HOLD_ATTEMPT, verdict.event.reservation)
        settling = asyncio.create_task(books.confirmations.settle(verdict))
        pid = await books.waiting_for_a_lock()

        await books.rows("SELECT pg_terminate_backend($1, 5000)", pid)

        with pytest.raises(LedgerUnavailable) as raised:
            await settling
    assert raised.value.applied is None
    assert await count(books, "payment_events") == 0


async def test_a_call_that_waits_for_longer_than_a_command_may_has_done_nothing(
    books: LedgerUnderTest,
) -> None:
    hurried = dataclasses.replace(books.settings, postgres_command_timeout_s=1)
    async with open_books(hurried, books.exam) as impatient:
        verdict = impatient.booking(impatient.reservation())
        async with books.ledger.transaction() as holder:
            await holder.execute(HOLD_ATTEMPT, verdict.event.reservation)

            with pytest.raises(LedgerUnavailable):
                await impatient.confirmations.settle(verdict)

        assert await count(books, "payment_events") == 0
        assert await books.confirmed() == {}


@pytest.mark.parametrize("cached", [True, False])
async def test_statements_are_prepared_for_later_only_when_that_is_set(
    settings: Settings, *, cached: bool
) -> None:
    chosen = dataclasses.replace(settings, postgres_statement_cache=cached, postgres_pool_max=1)
    async with open_books(chosen) as books:
        await books.book("candidate-1", ("general", "qms"))
        await books.confirmations.settle(
            PaymentDecision(
                books.event("unknown"), PaymentOutcome.REFUND_DUE, RefundReason.RELEASED
            )
        )

        async with books.ledger.connection() as connection:
            prepared = await connection.fetch("SELECT name FROM pg_prepared_statements")

        assert await count(books, "payment_events") == 2
        assert bool([row for row in prepared if row["name"]]) is cached


async def test_the_time_to_get_a_connection_is_measured(books: LedgerUnderTest) -> None:
    counted = "quota_postgres_pool_wait_seconds_count"
    before = books.metrics.registry.get_sample_value(counted) or 0

    await books.ledger.fetch("select_api_keys")

    assert books.metrics.registry.get_sample_value(counted) == before + 1


async def test_a_server_that_may_forget_a_commit_is_reported(settings: Settings) -> None:
    database = settings.postgres_dsn.rpartition("/")[2]
    async with open_ledger(settings, Metrics()) as ledger, ledger.connection() as connection:
        well = await LedgerReader(ledger).server_warnings()
        await connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    async with open_ledger(settings, Metrics()) as ledger:
        warned = await LedgerReader(ledger).server_warnings()

    assert well == []
    assert [warning.split()[0] for warning in warned] == ["synchronous_commit"]
