"""What is booked at a closed venue is moved whole, whatever dies on the way, and nobody twice."""

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import UnknownVenue
from quota_service.domain.reservation import Reservation
from quota_service.registration.close_venue import close_venue, open_venue
from quota_service.registration.import_exam import import_exam
from quota_service.registration.move_out import MovedOut, Rule, move_out
from quota_service.registration.stores import PaymentStores
from tests.support.bookings import book, check_agreement, left, now, recover
from tests.support.exams import exam_definition
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.moved_definitions import exam, with_venue
from tests.support.use_cases import DiedError, dying, hold

WHY = "burst pipe"


async def close(service: Service, *subjects: str) -> None:
    await close_venue(service.stores, "exam-1", "jinan", subjects, WHY)


async def move(
    service: Service,
    *venues: str,
    after: str = "",
    limit: int = 100,
    stores: PaymentStores | None = None,
) -> MovedOut:
    stores = stores or service.stores.payments
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

    ends = {each.reservation: (each.venue, each.why) for each in done.bookings}
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

    ends = {each.reservation: (each.venue, each.rule) for each in done.bookings}
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

    (stayed,) = (await move(service)).bookings
    await open_venue(service.stores, "exam-1", "tianjin", (), "mended")
    (moved,) = (await move(service)).bookings

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

    (end,) = (await move(service, "tianjin")).bookings

    assert (end.reservation, end.candidate, end.venue) == (booking.id, "candidate-1", "tianjin")
    await check_agreement(service, booked=1)


async def test_only_bookings_with_a_closed_subject_move_and_holds_stay(service: Service) -> None:
    general = await book(service)
    qms = await book(service, "candidate-2", subjects=("qms",))
    held = await hold(service, "candidate-3")
    assert (await move(service, "tianjin")).bookings == ()
    await close(service, "qms")

    done = await move(service, "tianjin")

    assert [each.reservation for each in done.bookings] == [qms.id]
    assert [(await now(service, each)).venue for each in (general, held)] == ["jinan", "jinan"]


async def test_pages_go_on_after_the_last_and_end(service: Service) -> None:
    booked = await three_bookings(service)
    await close(service)

    first = await move(service, "tianjin", limit=2)
    rest = await move(service, "tianjin", after=first.after or "", limit=2)

    pages = [[each.reservation for each in page.bookings] for page in (first, rest)]
    assert pages == [[b.id for b in booked[:2]], [b.id for b in booked[2:]]]
    assert (first.after, rest.after) == (booked[1].id, None)


@pytest.mark.parametrize(
    "line", ["move: after batch", "change: after script", "change: after commit"]
)
async def test_a_move_that_died_between_or_within_batches_is_finished_by_the_same_call(
    service: Service, line: str
) -> None:
    booked = await three_bookings(service)
    await close(service)

    with pytest.raises(DiedError):
        await move(service, "tianjin", limit=1, stores=dying(service.stores.payments, line))
    await recover(service)
    moved_before = [(await now(service, booking)).venue for booking in booked]
    rest = await move(service, "tianjin")

    assert moved_before[1:] == ["jinan", "jinan"]
    assert len(rest.bookings) == moved_before.count("jinan")
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
