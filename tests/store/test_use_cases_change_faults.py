"""A change of venue while Postgres is away, hangs, disagrees, or does not say how it ended."""

import asyncio
from collections.abc import Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    LedgerUnavailable,
    NotReady,
    ReservationEnded,
    SeatsLeft,
    SeatsUnavailable,
    SoldOut,
)
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.pool import Ledger
from quota_service.ledger.quotas import count_seats
from quota_service.registration.change_venue import change_venue
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover import Recovered
from quota_service.registration.refund import refund
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ScriptReply
from quota_service.seats.store import SeatStore
from tests.support.bookings import Groups, book, check_agreement, left, now, recover
from tests.support.exams import make_exam
from tests.support.proxy import Proxy
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, state

MANY = {
    "jinan": {"general": 60, "qms": 60},
    "tianjin": {"general": 60, "qms": 60},
    "beijing": {"general": 60},
}


@pytest.fixture
async def large(service: Service) -> Service:
    """The service with an exam beside the other, with seats for many."""
    await import_exam(service.stores.maintenance, make_exam("exam-2", seats=MANY))
    return service


def before_the_commit(
    monkeypatch: pytest.MonkeyPatch, ledger: str, happens: Callable[[], None]
) -> None:
    """Let something happen once all is written and the commit is still to come."""

    async def counted(*args: object) -> None:
        await count_seats(*args)  # type: ignore[arg-type]
        happens()

    monkeypatch.setattr(f"quota_service.ledger.{ledger}.count_seats", counted)


async def test_a_commit_whose_answer_is_lost_is_found_and_finished(
    hasty: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bookings = [await book(hasty, f"candidate-{i}") for i in range(3)]
    before_the_commit(monkeypatch, "changes", proxy.lose_answers)

    moved = await asyncio.gather(
        *(change_venue(hasty.stores.payments, booking.id, "tianjin") for booking in bookings)
    )

    assert proxy.lost_bytes > 0
    assert [(r.state, r.venue) for r in moved] == [(State.CONFIRMED, "tianjin")] * 3
    await check_agreement(hasty, booked=3)


async def test_a_commit_that_never_arrived_is_of_unknown_end_until_recovery_knows(
    hasty: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(hasty)
    with monkeypatch.context() as patched:
        before_the_commit(patched, "changes", proxy.freeze)
        with pytest.raises(LedgerUnavailable) as raised:
            await change_venue(hasty.stores.payments, booking.id, "tianjin")
    seen = await now(hasty, booking)

    recovered, _ = await recover(hasty)

    assert raised.value.applied is None
    assert (seen.state, seen.venue) == (State.CHANGING_VENUE, "jinan")
    assert recovered == Recovered(stayed=1)
    assert await now(hasty, booking) == booking
    await check_agreement(hasty, booked=1)


async def test_a_commit_that_cannot_even_be_looked_up_is_finished_by_recovery(
    hasty: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(hasty)
    fetch = Ledger.fetch

    async def away(ledger: Ledger, name: str, *args: object) -> object:
        if name == "select_changed":
            raise LedgerUnavailable("postgres went away")
        return await fetch(ledger, name, *args)

    with monkeypatch.context() as patched:
        before_the_commit(patched, "changes", proxy.lose_answers)
        patched.setattr(Ledger, "fetch", away)
        with pytest.raises(LedgerUnavailable) as raised:
            await change_venue(hasty.stores.payments, booking.id, "tianjin")
    seen = await now(hasty, booking)

    recovered, _ = await recover(hasty)

    assert raised.value.applied is None
    assert seen.state is State.CHANGING_VENUE
    assert recovered == Recovered(moved=1)
    assert (await now(hasty, booking)).venue == "tianjin"
    await check_agreement(hasty, booked=1)


async def test_while_postgres_hangs_it_is_refused_and_the_booking_is_usable_at_once(
    hasty: Service, proxy: Proxy
) -> None:
    booking = await book(hasty)
    proxy.freeze()

    with pytest.raises(LedgerUnavailable) as raised:
        await change_venue(hasty.stores.payments, booking.id, "tianjin")

    assert raised.value.applied is False
    assert await now(hasty, booking) == booking
    assert await left(hasty, "tianjin/general") == 5
    assert (await change_venue(hasty.stores.payments, booking.id, "beijing")).venue == "beijing"
    assert (await refund(hasty.stores.payments, booking.id)).state is State.REFUNDED
    await check_agreement(hasty, booked=0)


@pytest.mark.parametrize("has_moved", [False, True])
async def test_a_redis_that_is_not_told_the_end_learns_it_from_recovery(
    service: Service, monkeypatch: pytest.MonkeyPatch, *, has_moved: bool
) -> None:
    booking = await book(service)
    if not has_moved:
        async with service.stores.ledger.connection() as connection:
            await connection.execute("UPDATE quotas SET capacity = 0 WHERE venue = 'tianjin'")

    async def away(*_: object, **__: object) -> ScriptReply:
        raise SeatsUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "finish_change", away)
        if has_moved:
            moved = await change_venue(service.stores.payments, booking.id, "tianjin")
            assert (moved.state, moved.venue, moved.attempt) == (State.CONFIRMED, "tianjin", "")
        else:
            with pytest.raises(SeatsUnavailable):
                await change_venue(service.stores.payments, booking.id, "tianjin")
    recovered, _ = await recover(service)

    assert recovered == (Recovered(moved=1) if has_moved else Recovered(stayed=1))
    await check_agreement(service, booked=1)


async def test_one_change_redis_does_not_answer_for_keeps_no_other_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bookings = [await book(service, f"candidate-{i}") for i in range(3)]
    for booking in bookings:
        with pytest.raises(DiedError):
            await change_venue(
                dying(service.stores, "change: after script").payments, booking.id, "tianjin"
            )
    settle = SeatStore.finish_change
    _, silent = service.stores.registry.locate(bookings[0].id)

    async def once_away(
        store: SeatStore, shard: Shard, serial: str, attempt: str, *, has_moved: bool
    ) -> ScriptReply:
        if serial == silent:
            raise SeatsUnavailable("no answer")
        return await settle(store, shard, serial, attempt, has_moved=has_moved)

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "finish_change", once_away)
        with pytest.raises(SeatsUnavailable):
            await recover(service)
    states = [await state(service, booking) for booking in bookings]
    await recover(service)

    await check_agreement(service, booked=3)
    assert states == [State.CHANGING_VENUE, State.CONFIRMED, State.CONFIRMED]


async def test_many_changes_at_once_share_a_transaction(large: Service) -> None:
    bookings = [await book(large, f"candidate-{i}", exam="exam-2") for i in range(40)]
    groups = Groups(large)

    moved = await asyncio.gather(
        *(change_venue(large.stores.payments, b.id, "tianjin") for b in bookings)
    )

    assert {r.venue for r in moved} == {"tianjin"}
    assert groups.since() == (1, 40)
    await check_agreement(large, booked=40, exam="exam-2")


async def test_changes_in_both_directions_share_a_transaction(large: Service) -> None:
    there = [await book(large, f"candidate-{i}", "jinan", exam="exam-2") for i in range(12)]
    back = [await book(large, f"candidate-{i}", "tianjin", exam="exam-2") for i in range(12, 20)]
    wanted = [(b, "tianjin") for b in there] + [(b, "jinan") for b in back]
    groups = Groups(large)

    moved = await asyncio.gather(*(change_venue(large.stores.payments, b.id, v) for b, v in wanted))

    assert [r.venue for r in moved] == [venue for _, venue in wanted]
    assert groups.since() == (1, 20)
    await check_agreement(large, booked=20, exam="exam-2")


async def test_one_change_postgres_refuses_harms_no_other_of_its_group(large: Service) -> None:
    bookings = [await book(large, f"candidate-{i}", exam="exam-2") for i in range(20)]
    venues = ["beijing" if i == 7 else "tianjin" for i in range(20)]
    async with large.stores.ledger.connection() as connection:
        await connection.execute("UPDATE quotas SET capacity = 0 WHERE venue = 'beijing'")

    ends = await asyncio.gather(
        *(
            change_venue(large.stores.payments, b.id, v)
            for b, v in zip(bookings, venues, strict=True)
        ),
        return_exceptions=True,
    )

    assert isinstance(ends[7], SoldOut)
    others = [end for i, end in enumerate(ends) if i != 7]
    assert [end.venue for end in others if isinstance(end, Reservation)] == ["tianjin"] * 19
    assert await now(large, bookings[7]) == bookings[7]
    await check_agreement(large, booked=20, exam="exam-2")


async def test_a_seat_that_postgres_has_not_is_sold_out_and_the_booking_stays(
    service: Service,
) -> None:
    booking = await book(service)
    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE quotas SET capacity = 0 WHERE venue = 'tianjin'")

    with pytest.raises(SoldOut) as raised:
        await change_venue(service.stores.payments, booking.id, "tianjin")

    assert raised.value.left == (SeatsLeft("tianjin", "general", 0),)
    assert await now(service, booking) == booking
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("fence", ["epoch = epoch + 1", "state = 'fenced'"])
async def test_under_an_epoch_that_is_over_nothing_moves(service: Service, fence: str) -> None:
    booking = await book(service)
    async with service.stores.ledger.connection() as connection:
        await connection.execute(f"UPDATE shards SET {fence}")  # noqa: S608

    with pytest.raises(NotReady):
        await change_venue(service.stores.payments, booking.id, "tianjin")
    recovered, _ = await recover(service)

    assert recovered == Recovered(stayed=1)
    assert await now(service, booking) == booking
    await check_agreement(service, booked=1)


async def test_an_attempt_that_is_older_than_its_row_is_kept_moves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    with monkeypatch.context() as patched:
        patched.setattr("quota_service.ledger.changes.ATTEMPT_LIFE_S", -1.0)
        with pytest.raises(LedgerUnavailable, match="abandoned"):
            await change_venue(service.stores.payments, booking.id, "tianjin")

    assert await now(service, booking) == booking
    await check_agreement(service, booked=1)
    assert (await change_venue(service.stores.payments, booking.id, "tianjin")).venue == "tianjin"


async def test_a_booking_that_redis_forgot_is_not_ready_and_a_forgotten_refund_has_ended(
    service: Service,
) -> None:
    booking, refunded = await book(service), await book(service, "candidate-2")
    await refund(service.stores.payments, refunded.id)
    for forgotten in (booking, refunded):
        shard, serial = service.stores.registry.locate(forgotten.id)
        await redis_of(service).delete(shard.record_key(serial))

    with pytest.raises(NotReady):
        await change_venue(service.stores.payments, booking.id, "tianjin")
    with pytest.raises(ReservationEnded) as ended:
        await change_venue(service.stores.payments, refunded.id, "tianjin")

    assert ended.value.state is State.REFUNDED
    assert await state(service, await hold(service, "candidate-3")) is State.HELD
