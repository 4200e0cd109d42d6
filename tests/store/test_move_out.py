"""What is booked at a closed venue is moved whole, whatever dies on the way, and nobody twice."""

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import LedgerUnavailable, NotReady, UnknownVenue
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.reading import LedgerReader
from quota_service.registration.change_venue import change_venue
from quota_service.registration.close_venue import close_venue, open_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.move_out import MovedOut, Rule, move_out
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.stores import MaintenanceStores
from tests.support.bookings import book, check_agreement, left, meanwhile, now, recover
from tests.support.exams import SEATS, exam_definition
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.moved_definitions import exam, expire_now, with_venue
from tests.support.use_cases import DiedError, dying, hold, payment

WHY = "burst pipe"


async def close(service: Service, *subjects: str) -> None:
    await close_venue(service.stores, "exam-1", "jinan", subjects, WHY)


async def move(
    service: Service,
    *venues: str,
    after: str = "",
    limit: int = 100,
    stores: MaintenanceStores | None = None,
) -> MovedOut:
    stores = stores or service.stores.maintenance
    return await move_out(stores, "exam-1", "jinan", venues, WHY, after, limit)


async def three_bookings(service: Service) -> list[Reservation]:
    """Return bookings at Jinan, in the order in which they are moved."""
    booked = [await book(service, f"candidate-{n}") for n in range(3)]
    return sorted(booked, key=lambda booking: booking.id)


async def test_each_booking_goes_to_the_first_venue_with_room_and_the_rest_is_told(
    service: Service,
) -> None:
    booked = await three_bookings(service)
    taken = await book(service, "candidate-9", "tianjin")
    seats = {
        "jinan": {"general": 3, "qms": 2},
        "tianjin": {"general": 2},
        "beijing": {"general": 1},
    }
    await import_exam(service.stores.maintenance, exam(seats=seats))
    await close(service)

    done = await move(service, "jinan", "beijing", "tianjin")

    ends = {each.reservation: (each.venue, each.why) for each in done.reservations}
    assert sorted(ends) == [booking.id for booking in booked]
    assert sorted(ends.values()) == [("", "sold-out"), ("beijing", ""), ("tianjin", "")]
    assert done.after is None
    for booking in booked:
        assert (await now(service, booking)).venue == (ends[booking.id][0] or "jinan")
    assert (await now(service, taken)).venue == "tianjin"
    await check_agreement(service, booked=4)


async def test_the_venues_that_its_candidate_ordered_come_before_the_list_in_their_order(
    service: Service,
) -> None:
    seats = {"tianjin": {"general": 1}, "beijing": {"general": 1}, "hefei": {"general": 2}}
    await import_exam(service.stores.maintenance, with_venue("hefei", **seats))
    full = await book(service, "candidate-0", "beijing")
    ordered = ("jinan", ("general",), "beijing", "tianjin")
    both = [(await book(service, f"candidate-{n}", *ordered)).id for n in (1, 2)]
    alone = await book(service, "candidate-3")
    await drain(service)
    await close(service)

    done = await move(service, "beijing", "hefei")

    ends = {each.reservation: (each.venue, each.rule) for each in done.reservations}
    assert sorted(ends[each] for each in both) == [
        ("hefei", Rule.LIST),
        ("tianjin", Rule.CANDIDATE),
    ]
    assert ends[alone.id] == ("hefei", Rule.LIST)
    assert (await now(service, full)).venue == "beijing"
    await check_agreement(service, booked=4)


async def test_an_order_outlives_a_rebuild_and_its_venues_that_are_closed_or_gone(
    service: Service,
) -> None:
    await import_exam(service.stores.maintenance, with_venue("hefei"))
    booking = await book(service, "candidate-1", "jinan", ("general",), "hefei", "tianjin")
    await drain(service)
    await import_exam(service.stores.maintenance, exam())
    await lose_everything(service)
    await recover_shards(service)
    await close_venue(service.stores, "exam-1", "tianjin", (), WHY)
    await close(service)

    (stayed,) = (await move(service)).reservations
    await open_venue(service.stores, "exam-1", "tianjin", (), "mended")
    (moved,) = (await move(service)).reservations

    assert (stayed.venue, stayed.why) == ("", "sold-out")
    assert (moved.reservation, moved.venue, moved.rule) == (booking.id, "tianjin", Rule.CANDIDATE)
    await check_agreement(service, booked=1)


async def test_bookings_move_after_the_window_and_beyond_the_limit_of_changes(
    service: Service,
) -> None:
    (booking,) = [await book(service)]
    over = exam_definition(opens_in_s=-7200, closes_in_s=-3600, fair_use={"venue_changes_max": 0})
    await import_exam(service.stores.maintenance, parse_exam(over))
    await close(service)

    (end,) = (await move(service, "tianjin")).reservations

    assert (end.reservation, end.candidate, end.venue) == (booking.id, "candidate-1", "tianjin")
    await check_agreement(service, booked=1)


async def test_only_what_has_a_closed_subject_moves(service: Service) -> None:
    general = await book(service)
    qms = await book(service, "candidate-2", subjects=("qms",))
    held = await hold(service, "candidate-3")
    assert (await move(service, "tianjin")).reservations == ()
    await close(service, "qms")

    done = await move(service, "tianjin")

    assert [each.reservation for each in done.reservations] == [qms.id]
    assert [(await now(service, each)).venue for each in (general, held)] == ["jinan", "jinan"]


async def test_a_hold_moves_by_the_same_rule_and_keeps_its_deadline(service: Service) -> None:
    await import_exam(service.stores.maintenance, exam(seats={**SEATS, "beijing": {"general": 2}}))
    order = Order("candidate-1", ("general",), ("jinan", "tianjin"), accepted_notice=True)
    held = (await reserve(service.stores.reservations, "exam-1", order, "key-1")).reservation
    alone = await hold(service, "candidate-2")
    booked = await book(service, "candidate-3")
    elsewhere = await hold(service, "candidate-4", "tianjin")
    await drain(service)
    await close(service)

    done = await move(service, "beijing")

    assert {
        each.reservation: (each.state, each.venue, each.rule) for each in done.reservations
    } == {
        held.id: (State.HELD, "tianjin", Rule.CANDIDATE),
        alone.id: (State.HELD, "beijing", Rule.LIST),
        booked.id: (State.CONFIRMED, "beijing", Rule.LIST),
    }
    assert [each.reservation for each in done.reservations] == sorted(
        [held.id, alone.id, booked.id]
    )
    moved = await now(service, held)
    assert (moved.venue, moved.deadline_ms, moved.due_ms) == (
        "tianjin",
        held.deadline_ms,
        held.due_ms,
    )
    assert (await now(service, elsewhere)).venue == "tianjin"
    paid = await confirm(service.stores.payments, payment(held))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_agreement(service, booked=2)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("confirm: after attempt", State.HELD),
        ("confirm: after commit", State.CONFIRMED),
    ],
)
async def test_a_payment_under_way_is_decided_before_its_reservation_moves(
    service: Service, line: str, state: State
) -> None:
    held = await hold(service)
    await close(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores.payments, line), payment(held))

    (end,) = (await move(service, "tianjin")).reservations
    paid = await confirm(service.stores.payments, payment(held))

    assert (end.reservation, end.state, end.venue) == (held.id, state, "tianjin")
    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert (await now(service, held)).venue == "tianjin"
    await check_agreement(service, booked=1)


async def test_a_late_payment_under_way_is_left_alone_and_moved_once_it_is_booked(
    service: Service,
) -> None:
    held = await hold(service)
    await expire_now(service, held)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores.payments, "confirm: after attempt"), payment(held))
    await close(service)

    (stayed,) = (await move(service, "tianjin")).reservations
    paid = await confirm(service.stores.payments, payment(held))
    (moved,) = (await move(service, "tianjin")).reservations

    assert (stayed.state, stayed.venue, stayed.why) == (State.HELD, "", "payment-in-progress")
    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert (moved.reservation, moved.venue) == (held.id, "tianjin")
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("line", ["change: after script", "change: after commit"])
async def test_a_change_under_way_is_ended_first_and_one_that_has_moved_stays_where_it_went(
    service: Service, line: str
) -> None:
    booking = await book(service)
    await close(service)
    with pytest.raises(DiedError):
        await change_venue(dying(service.stores.payments, line), booking.id, "tianjin", by_ops=True)

    (end,) = (await move(service, "beijing", "tianjin")).reservations

    venue = "tianjin" if line == "change: after commit" else "beijing"
    assert (end.reservation, end.venue) == (booking.id, venue)
    assert (await now(service, booking)).venue_changes == 1
    await check_agreement(service, booked=1)


async def test_what_leaves_by_itself_while_a_page_is_moved_is_not_moved_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    await close(service)

    async def leave() -> None:
        await change_venue(service.stores.payments, booking.id, "tianjin")

    meanwhile(monkeypatch, LedgerReader, "ordered_venues", leave)

    done = await move(service, "beijing")

    assert done.reservations == ()
    assert (await now(service, booking)).venue == "tianjin"
    await check_agreement(service, booked=1)


async def test_of_a_shard_that_is_not_open_nothing_is_said_to_be_moved(service: Service) -> None:
    await hold(service)
    await close(service)
    await lose_everything(service)

    with pytest.raises(NotReady):
        await move(service, "tianjin")


async def test_pages_go_on_after_the_last_and_end(service: Service) -> None:
    booked = await three_bookings(service)
    await close(service)

    first = await move(service, "tianjin", limit=2)
    rest = await move(service, "tianjin", after=first.after or "", limit=2)

    pages = [[each.reservation for each in page.reservations] for page in (first, rest)]
    assert pages == [[b.id for b in booked[:2]], [b.id for b in booked[2:]]]
    assert (first.after, rest.after) == (booked[1].id, None)


async def test_a_page_of_which_a_store_let_nothing_move_says_so_instead_of_asking_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booked = await three_bookings(service)
    await close(service)

    async def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr("quota_service.registration.move_out.change_venue", away)

    for after in ("", booked[0].id):
        with pytest.raises(LedgerUnavailable):
            await move(service, "tianjin", after=after)


@pytest.mark.parametrize(
    "line", ["move: after batch", "change: after script", "change: after commit"]
)
async def test_a_move_that_died_between_or_within_batches_is_finished_by_the_same_call(
    service: Service, line: str
) -> None:
    booked = await three_bookings(service)
    await close(service)

    with pytest.raises(DiedError):
        await move(service, "tianjin", limit=1, stores=dying(service.stores.maintenance, line))
    await recover(service)
    moved_before = [(await now(service, booking)).venue for booking in booked]
    rest = await move(service, "tianjin")

    assert moved_before[1:] == ["jinan", "jinan"]
    assert len(rest.reservations) == moved_before.count("jinan")
    assert [(await now(service, booking)).venue for booking in booked] == ["tianjin"] * 3
    assert (await left(service, "jinan/general"), await left(service, "tianjin/general")) == (3, 2)
    await check_agreement(service, booked=3)


async def test_who_moved_what_and_why_is_kept(service: Service) -> None:
    await close(service)
    await move(service, "tianjin", limit=7)
    with pytest.raises(UnknownVenue):
        await move(service, "nowhere")

    query = "SELECT action, subject, reason, detail->>'venues', detail->>'limit' FROM ops_actions"
    assert await rows(service, f"{query} WHERE action = 'move-out'") == [
        ("move-out", "jinan", WHY, '["tianjin"]', "7")
    ]
