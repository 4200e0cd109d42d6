"""Change of venue over both stores: a booking is always whole, at the old venue or the new one."""

import asyncio

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    ChangeInProgress,
    LedgerUnavailable,
    PaymentInProgress,
    QuotaError,
    RegistrationClosed,
    RegistrationNotOpen,
    ReservationEnded,
    SeatsLeft,
    SoldOut,
    UnknownReservation,
    UnknownVenue,
)
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover import Recovered
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.workers.expiry import ExpiryWorker
from tests.support.bookings import Groups, book, check_agreement, left, meanwhile, now, recover
from tests.support.books import read_journal
from tests.support.exams import make_exam
from tests.support.lost_shards import rows
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment

BEFORE_THE_DECISION = ["change: before script", "change: after script"]
AFTER_THE_DECISION = ["change: after commit", "change: after finish"]


async def test_a_hold_moves_in_one_call(service: Service) -> None:
    held = await hold(service)
    client = redis_of(service)
    before = int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

    moved = await change_venue(service.stores.payments, held.id, "tianjin")

    after = int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])
    assert after - before == 1
    assert (moved.state, moved.venue) == (State.HELD, "tianjin")
    assert (await left(service, "jinan/general"), await left(service, "tianjin/general")) == (3, 4)
    await check_agreement(service, booked=0)


async def test_a_moved_hold_is_paid_and_booked_where_it_is(service: Service) -> None:
    held = await hold(service)
    await change_venue(service.stores.payments, held.id, "tianjin")

    paid = await confirm(service.stores.payments, payment(held))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert (await now(service, held)).venue == "tianjin"
    await check_agreement(service, booked=1)


async def test_the_ledger_knows_the_step_under_which_a_booking_was_paid_or_moved_last(
    service: Service,
) -> None:
    held = await hold(service)
    shard, serial = service.stores.registry.locate(held.id)
    steps = []

    await confirm(service.stores.payments, payment(held))
    steps += await rows(service, "SELECT step_epoch || '-' || step_version FROM bookings")
    await change_venue(service.stores.payments, held.id, "tianjin")
    steps += await rows(service, "SELECT step_epoch || '-' || step_version FROM bookings")

    entries = await read_journal(redis_of(service), shard)
    of_verb = {e["verb"]: entry for entry, e in entries if e["subject"] == serial}
    assert steps == [(of_verb["pin"],), (of_verb["change"],)]


async def test_a_booking_moves_with_every_seat_of_its_venue_sold_to_the_last_one_there(
    service: Service,
) -> None:
    booking = await book(service)
    for i in (2, 3):
        await book(service, f"candidate-{i}")
    groups = Groups(service)

    moved = await change_venue(service.stores.payments, booking.id, "beijing")

    assert (moved.state, moved.venue, moved.to_venue) == (State.CONFIRMED, "beijing", "")
    assert moved == await now(service, booking)
    assert groups.since() == (1, 1)
    assert (await left(service, "jinan/general"), await left(service, "beijing/general")) == (1, 0)
    await check_agreement(service, booked=3)


async def test_a_booking_moves_with_all_its_subjects_and_back_again(service: Service) -> None:
    booking = await book(service, subjects=("general", "qms", "service"))

    venues = [
        (await change_venue(service.stores.payments, booking.id, venue)).venue
        for venue in ("tianjin", "jinan", "tianjin")
    ]

    assert venues == ["tianjin", "jinan", "tianjin"]
    assert await left(service, "jinan/service") == 1
    assert await left(service, "tianjin/service") == 4
    await check_agreement(service, booked=3)


async def test_of_many_bookings_that_want_one_seat_exactly_one_moves(service: Service) -> None:
    venues = ["jinan"] * 3 + ["tianjin"] * 5
    bookings = [await book(service, f"candidate-{i}", v) for i, v in enumerate(venues)]

    ends = await asyncio.gather(
        *(change_venue(service.stores.payments, b.id, "beijing") for b in bookings),
        return_exceptions=True,
    )

    moved = [end for end in ends if isinstance(end, Reservation)]
    refused = [end for end in ends if isinstance(end, SoldOut)]
    assert (len(moved), len(refused)) == (1, 7)
    assert {tuple(end.left) for end in refused} == {(SeatsLeft("beijing", "general", 0),)}
    for booking, end in zip(bookings, ends, strict=True):
        expected = booking.venue if isinstance(end, SoldOut) else "beijing"
        assert (await now(service, booking)).venue == expected
    await check_agreement(service, booked=8)


async def test_of_many_changes_of_one_booking_each_moves_it_or_finds_one_in_flight(
    service: Service,
) -> None:
    booking = await book(service)

    ends = await asyncio.gather(
        *(change_venue(service.stores.payments, booking.id, "tianjin") for _ in range(10)),
        return_exceptions=True,
    )

    assert {type(end) for end in ends} <= {Reservation, ChangeInProgress}
    assert [end for end in ends if isinstance(end, Reservation)]
    assert (await now(service, booking)).venue == "tianjin"
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("booked", [False, True])
async def test_a_change_to_its_own_venue_changes_nothing(service: Service, *, booked: bool) -> None:
    reservation = await (book(service) if booked else hold(service))
    groups = Groups(service)

    moved = [
        await change_venue(service.stores.payments, reservation.id, "tianjin") for _ in range(2)
    ]

    assert moved[0] == moved[1] == await now(service, reservation)
    assert groups.since() == ((1, 1) if booked else (0, 0))
    await check_agreement(service, booked=int(booked))


async def refused(service: Service, reservation: Reservation | str, venue: str) -> QuotaError:
    """Return the refusal of a change, which must leave a reservation as it was."""
    before = await now(service, reservation) if isinstance(reservation, Reservation) else None
    asked = reservation.id if isinstance(reservation, Reservation) else reservation
    with pytest.raises(QuotaError) as raised:
        await change_venue(service.stores.payments, asked, venue)
    if isinstance(reservation, Reservation):
        assert await now(service, reservation) == before
    return raised.value


async def test_a_sold_out_venue_is_told_with_what_is_left(service: Service) -> None:
    booking = await book(service, subjects=("general", "ems"))
    held = await hold(service, "candidate-2")
    await book(service, "candidate-3", "beijing")

    there = await refused(service, booking, "tianjin")
    last = await refused(service, held, "beijing")

    assert isinstance(there, SoldOut)
    assert there.left == (SeatsLeft("tianjin", "general", 5), SeatsLeft("tianjin", "ems", 0))
    assert isinstance(last, SoldOut)
    assert last.left == (SeatsLeft("beijing", "general", 0),)
    await check_agreement(service, booked=3)


async def test_a_venue_or_a_reservation_nobody_knows_is_refused(service: Service) -> None:
    booking = await book(service)
    serial = "a" * 24

    venue = await refused(service, booking, "atlantis")
    others = [
        await refused(service, unknown, "tianjin")
        for unknown in (f"exam-1.0.{serial}", f"exam-1.7.{serial}", f"exam-9.0.{serial}", "no-id")
    ]

    assert isinstance(venue, UnknownVenue)
    assert (venue.field, venue.venue) == ("venue", "atlantis")
    assert {type(error) for error in others} == {UnknownReservation}


async def test_what_has_ended_is_refused_by_how_it_ended(service: Service) -> None:
    released = await hold(service, "candidate-1")
    await release(service.stores, released.id)
    expired = await hold(service, "candidate-2")
    await move_due(redis_of(service), *service.stores.registry.locate(expired.id))
    await ExpiryWorker(service.stores, service.settings).run_once()
    refunded = await book(service, "candidate-3")
    await refund(service.stores.payments, refunded.id)

    for reservation in (released, expired, refunded):
        error = await refused(service, reservation, "tianjin")
        assert isinstance(error, ReservationEnded)
        assert error.state == (await now(service, reservation)).state
    await check_agreement(service, booked=0)


async def test_during_a_payment_it_is_refused_and_the_payment_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    errors: list[QuotaError] = []

    async def change() -> None:
        errors.append(await refused(service, held, "tianjin"))

    meanwhile(monkeypatch, ConfirmationLedger, "settle", change)

    paid = await confirm(service.stores.payments, payment(held))

    assert [type(error) for error in errors] == [PaymentInProgress]
    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("venue", ["jinan", "tianjin", "beijing"])
async def test_during_another_change_it_is_refused_and_the_other_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    booking = await book(service)
    errors: list[QuotaError] = []

    async def change() -> None:
        errors.append(await refused(service, booking, venue))

    meanwhile(monkeypatch, ChangeLedger, "change", change)

    moved = await change_venue(service.stores.payments, booking.id, "tianjin")

    assert [type(error) for error in errors] == [ChangeInProgress]
    assert moved.venue == "tianjin"
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("booked", [False, True])
async def test_outside_the_registration_window_it_is_refused(
    service: Service, *, booked: bool
) -> None:
    reservation = await (book(service) if booked else hold(service))

    later = make_exam(opens_in_s=600)
    await import_exam(service.stores.maintenance, later)
    early = await refused(service, reservation, "tianjin")
    over = make_exam(closes_in_s=-60)
    await import_exam(service.stores.maintenance, over)
    late = await refused(service, reservation, "tianjin")

    assert isinstance(early, RegistrationNotOpen)
    assert early.opens_at_ms == later.registration.opens_at_ms
    assert isinstance(late, RegistrationClosed)
    assert late.closed_at_ms == over.registration.closes_at_ms
    await check_agreement(service, booked=int(booked))


@pytest.mark.parametrize("line", BEFORE_THE_DECISION)
async def test_a_change_that_died_before_its_commit_leaves_the_booking_where_it_was(
    service: Service, line: str
) -> None:
    booking = await book(service, subjects=("general", "qms"))
    with pytest.raises(DiedError):
        await change_venue(dying(service.stores, line).payments, booking.id, "tianjin")

    recovered, _ = await recover(service)

    assert recovered == Recovered(stayed=0 if line == "change: before script" else 1)
    assert await now(service, booking) == booking
    await check_agreement(service, booked=2)
    assert (await change_venue(service.stores.payments, booking.id, "tianjin")).venue == "tianjin"
    await check_agreement(service, booked=2)


@pytest.mark.parametrize("line", AFTER_THE_DECISION)
async def test_a_change_that_died_after_its_commit_is_finished(service: Service, line: str) -> None:
    booking = await book(service, subjects=("general", "qms"))
    with pytest.raises(DiedError):
        await change_venue(dying(service.stores, line).payments, booking.id, "tianjin")

    recovered, _ = await recover(service)

    assert recovered == Recovered(moved=1 if line == "change: after commit" else 0)
    assert (await now(service, booking)).venue == "tianjin"
    await check_agreement(service, booked=2)
    assert (await change_venue(service.stores.payments, booking.id, "jinan")).venue == "jinan"
    await check_agreement(service, booked=2)


async def test_recovery_settles_those_that_moved_and_those_that_stayed_together(
    service: Service,
) -> None:
    lines = [*AFTER_THE_DECISION[:1], *BEFORE_THE_DECISION[1:]] * 2
    bookings = [await book(service, f"candidate-{i}", "tianjin") for i in range(4)]
    for booking, line in zip(bookings[:3], lines, strict=False):
        with pytest.raises(DiedError):
            await change_venue(dying(service.stores, line).payments, booking.id, "jinan")
    held = await hold(service, "candidate-9", "beijing")
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(held))

    first, _ = await recover(service)
    second, _ = await recover(service)

    assert first == Recovered(moved=2, stayed=1, abandoned=1)
    assert second == Recovered()
    await check_agreement(service, booked=4)


async def test_a_change_that_recovery_gave_up_meanwhile_is_refused_and_can_be_asked_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    meanwhile(monkeypatch, ChangeLedger, "change", lambda: recover(service))

    with pytest.raises(LedgerUnavailable) as raised:
        await change_venue(service.stores.payments, booking.id, "tianjin")

    assert raised.value.applied is False
    assert await now(service, booking) == booking
    await check_agreement(service, booked=1)
    assert (await change_venue(service.stores.payments, booking.id, "tianjin")).venue == "tianjin"


async def test_an_old_change_that_wakes_up_does_not_undo_the_next_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)

    async def given_up_and_moved_elsewhere() -> None:
        await recover(service)
        await change_venue(service.stores.payments, booking.id, "beijing")

    meanwhile(monkeypatch, ChangeLedger, "change", given_up_and_moved_elsewhere)

    with pytest.raises(LedgerUnavailable):
        await change_venue(service.stores.payments, booking.id, "tianjin")

    assert (await now(service, booking)).venue == "beijing"
    await check_agreement(service, booked=1)


async def test_a_payment_event_for_a_changing_booking_is_due_to_go_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    ends: list[object] = []

    async def pay_again() -> None:
        ends.append((await confirm(service.stores.payments, payment(booking, "event-2"))).reason)
        again = payment(booking, f"event-{booking.id}")
        ends.append((await confirm(service.stores.payments, again)).outcome)

    meanwhile(monkeypatch, ChangeLedger, "change", pay_again)

    moved = await change_venue(service.stores.payments, booking.id, "tianjin")

    assert ends == [RefundReason.ALREADY_PAID, PaymentOutcome.CONFIRMED]
    assert moved.venue == "tianjin"
    await check_agreement(service, booked=1)
