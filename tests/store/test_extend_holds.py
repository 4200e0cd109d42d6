"""Deadlines that ops move out: each hold once, whatever dies or is lost, and none made earlier.

Over 400 lines because each marked line has its death and its loss.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    AlreadyConfirmed,
    PaymentInProgress,
    ReservationEnded,
    SeatsUnavailable,
    UnknownReservation,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import Pause
from quota_service.domain.extension import Extended
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.confirm import confirm
from quota_service.registration.expire import expire_holds
from quota_service.registration.extend_holds import extend_holds
from quota_service.registration.import_exam import import_exam
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.release import checkout, release
from quota_service.seats import extensions
from quota_service.workers.extensions import ExtensionWorker
from tests.support.exams import exam_definition
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows, ways
from tests.support.moved_definitions import book, exam, expire_now
from tests.support.records import change_fields, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.use_cases import (
    DiedError,
    check_both_books,
    dying,
    failing_at,
    hold,
    payment,
    recover,
)

WHY = "the payment provider was down"
MORE_S = 1800
MORE_MS = MORE_S * 1000
LINES = [
    "extend: decided",
    "extend: noted",
    "extend: taken up",
    "extend: after page",
    "extend: drained",
    "extend: ended",
]


async def extend(
    service: Service, venue: str = "", subject: str = "", reservation: str = "", **other: Any
) -> Extended:
    stores = other.get("stores", service.stores.maintenance)
    scope = (venue, subject, reservation)
    return await extend_holds(stores, "exam-1", *scope, other.get("seconds", MORE_S), WHY)


async def now(service: Service, held: Reservation) -> Reservation:
    found = await service.stores.seats.read(*service.stores.registry.locate(held.id))
    assert found is not None
    return found


async def moved_ms(service: Service, *held: Reservation) -> list[int]:
    """Return by how much the deadline and the due time of each hold are later than they were."""
    moved = []
    for each in held:
        after = await now(service, each)
        assert after.due_ms - each.due_ms == after.deadline_ms - each.deadline_ms
        moved.append(after.deadline_ms - each.deadline_ms)
    return moved


async def three_holds(service: Service) -> Sequence[Reservation]:
    return [await hold(service, f"candidate-{n}", "tianjin") for n in range(3)]


async def work(service: Service) -> int:
    return (await ExtensionWorker(service.stores.maintenance).run_once())["ended"]


def at_page(count: int) -> Callable[[str], None]:
    """Return a failpoint that dies after so many pages."""
    pages = itertools.count(1)

    def failpoint(line: str) -> None:
        if line == "extend: after page" and next(pages) == count:
            raise DiedError(line)

    return failpoint


@pytest.fixture
def pages_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "EXTENDED_MAX", 1)


async def test_every_live_hold_has_as_much_longer_and_expires_by_its_new_deadline(
    imported: Service,
) -> None:
    held = await three_holds(imported)
    shard, serial = imported.stores.registry.locate(held[0].id)
    late_ms = await redis_now_ms(redis_of(imported)) - MORE_MS - 1
    for each in held[1:]:
        name = each.id.rpartition(".")[2]
        changes = {"deadline_ms": late_ms, "due_ms": late_ms}
        await change_fields(redis_of(imported), shard, name, **changes)
        await redis_of(imported).zadd(shard.key("due"), {name: late_ms})

    done = await extend(imported)

    assert (done.extended, done.is_done, done.ms) == (3, True, MORE_MS)
    assert await moved_ms(imported, held[0]) == [MORE_MS]
    due = (await imported.stores.seats.due(shard, 10)).serials
    assert serial not in due
    assert await expire_holds(imported.stores, shard, [serial, *due]) == 2
    await check_both_books(imported, booked=0)


async def test_only_holds_of_the_venue_and_the_subject_are_extended(imported: Service) -> None:
    jinan, tianjin = await hold(imported), await hold(imported, "candidate-2", "tianjin")
    service = await book(imported, "service", key="key-2")

    assert (await extend(imported, "jinan")).extended == 2
    assert await moved_ms(imported, jinan, tianjin, service) == [MORE_MS, 0, MORE_MS]
    assert (await extend(imported, "", "general")).extended == 2
    assert (await extend(imported, "jinan", "service")).extended == 1
    assert (await extend(imported, reservation=tianjin.id)).extended == 1
    assert (await extend(imported, "jinan", reservation=tianjin.id)).extended == 0
    assert await moved_ms(imported, jinan, tianjin, service) == [2 * MORE_MS] * 3
    await check_both_books(imported, booked=0)


async def test_what_has_ended_or_is_booked_is_left(imported: Service) -> None:
    held, paid, given_back, expired = [
        await hold(imported, f"candidate-{n}", "tianjin") for n in range(4)
    ]
    await confirm(imported.stores.payments, payment(paid))
    await release(imported.stores, given_back.id)
    await expire_now(imported, expired)
    before = [await now(imported, each) for each in (paid, given_back, expired)]

    assert (await extend(imported)).extended == 1

    assert await moved_ms(imported, held) == [MORE_MS]
    assert [await now(imported, each) for each in before] == before


async def test_a_hold_that_is_being_paid_has_longer_too_also_when_its_payment_is_given_up(
    imported: Service,
) -> None:
    held, late = await hold(imported), await hold(imported, "candidate-2")
    await expire_now(imported, late)
    payments = dying(imported.stores.payments, "confirm: after attempt")
    for event, each in (("event-1", held), ("event-2", late)):
        with pytest.raises(DiedError):
            await confirm(payments, payment(each, event))
    retaken = await now(imported, late)
    assert (retaken.state, retaken.due_ms) == (State.CONFIRMING, 0)

    assert (await extend(imported)).extended == 1
    with pytest.raises(PaymentInProgress):
        await extend(imported, reservation=late.id)

    assert (await now(imported, held)).state is State.CONFIRMING
    assert await moved_ms(imported, held) == [MORE_MS]
    assert await now(imported, late) == retaken
    await recover(imported)
    assert await moved_ms(imported, held) == [MORE_MS]
    await check_both_books(imported, booked=0)


async def test_what_is_reserved_after_the_decision_is_not_extended(
    imported: Service, beside: Service
) -> None:
    before = await hold(imported, venue="tianjin")
    await three_holds(beside)
    with pytest.raises(DiedError):
        await extend(imported, stores=dying(imported.stores.maintenance, "extend: decided"))
    await rows(
        imported, "UPDATE hold_extensions SET as_of = as_of - interval '1 hour' RETURNING id"
    )
    shard, serial = imported.stores.registry.locate(before.id)
    created_ms = before.created_ms - 3_600_000 - 60_000
    await change_fields(redis_of(imported), shard, serial, created_ms=created_ms)

    assert await work(beside) == 1

    assert await rows(imported, "SELECT extended FROM hold_extensions") == [(1,)]
    assert await moved_ms(imported, before) == [MORE_MS]


async def test_no_deadline_goes_beyond_the_first_sitting_and_none_is_made_earlier(
    service: Service,
) -> None:
    definition = exam_definition()
    await import_exam(service.stores.maintenance, exam(sessions=definition["sessions"]))
    held = await hold(service)
    first_ms = service.stores.registry.find("exam-1").starts_at_ms["general"]
    shard, serial = service.stores.registry.locate(held.id)
    week = 604_800
    for _ in range(9):  # the first sitting is in 60 days
        await extend(service, seconds=week)
    last = await extend(service, seconds=week)
    beyond = {"deadline_ms": first_ms + 1000, "due_ms": first_ms + 1000}
    at_end = await now(service, held)
    await change_fields(redis_of(service), shard, serial, **beyond)
    await redis_of(service).zadd(shard.key("due"), {serial: beyond["due_ms"]})
    none = await extend(service, seconds=1)

    assert (at_end.deadline_ms, last.extended, none.extended) == (first_ms, 0, 0)
    assert (await now(service, held)).deadline_ms == beyond["deadline_ms"]


async def test_a_single_hold_that_has_ended_or_is_paid_is_refused(imported: Service) -> None:
    paid, given_back = await hold(imported), await hold(imported, "candidate-2")
    await confirm(imported.stores.payments, payment(paid))
    await release(imported.stores, given_back.id)

    with pytest.raises(AlreadyConfirmed):
        await extend(imported, reservation=paid.id)
    with pytest.raises(ReservationEnded):
        await extend(imported, reservation=given_back.id)
    with pytest.raises(UnknownReservation):
        await extend(imported, reservation=f"exam-1.0.{'a' * 24}")
    with pytest.raises(UnknownReservation):
        await extend(imported, reservation=f"exam-2.0.{'a' * 24}")
    with pytest.raises(UnknownVenue):
        await extend(imported, "nowhere")
    with pytest.raises(UnknownSubject):
        await extend(imported, subject="alchemy")

    assert await rows(imported, "SELECT count(*) FROM ops_actions") == [(0,)]


async def test_a_hold_that_ends_between_the_question_and_its_extension_is_refused(
    imported: Service,
) -> None:
    held = await hold(imported)

    async def give_back() -> None:
        await release(imported.stores, held.id)

    stores = imported.stores.maintenance
    decided = stores.extensions.insert

    async def insert(*args: Any) -> int:
        number = await decided(*args)
        await give_back()
        return number

    stores.extensions.insert = insert  # type: ignore[method-assign]

    with pytest.raises(ReservationEnded):
        await extend(imported, reservation=held.id)


async def test_the_checkout_moves_an_extended_deadline_out_as_any_other(imported: Service) -> None:
    held = await hold(imported)

    await extend(imported)
    await checkout(imported.stores, held.id)

    assert await moved_ms(imported, held) == [MORE_MS + 600_000]
    assert (await now(imported, held)).as_first_answered().deadline_ms == held.deadline_ms


@pytest.mark.usefixtures("pages_of_one")
@pytest.mark.parametrize("line", LINES)
async def test_an_extension_that_died_is_finished_by_a_worker_and_each_hold_is_extended_once(
    imported: Service, beside: Service, line: str
) -> None:
    held = await three_holds(imported)

    with pytest.raises(DiedError):
        await extend(imported, stores=dying(imported.stores.maintenance, line))
    finished = await work(beside)

    assert await moved_ms(imported, *held) == [MORE_MS] * 3
    assert finished == (0 if line == "extend: ended" else 1)
    assert await rows(imported, "SELECT extended FROM hold_extensions") == [(3,)]
    assert (await extend(beside)).extended == 3
    assert await moved_ms(imported, *held) == [2 * MORE_MS] * 3
    await check_both_books(imported, booked=0)


async def test_an_extension_that_died_before_its_decision_has_extended_nothing(
    imported: Service, beside: Service
) -> None:
    held = await hold(imported)

    with pytest.raises(DiedError):
        await extend(imported, stores=dying(imported.stores.maintenance, "extend: before commit"))

    assert await work(beside) == 0
    assert await moved_ms(imported, held) == [0]


@pytest.mark.usefixtures("pages_of_one")
@pytest.mark.parametrize(
    ("line", "is_drained"),
    [
        ("extend: noted", False),
        ("extend: taken up", False),
        ("extend: after page", False),
        ("extend: after page", True),
        ("extend: drained", True),
        ("extend: ended", True),
    ],
)
async def test_over_a_redis_that_was_lost_each_hold_is_extended_once(
    imported: Service, beside: Service, line: str, is_drained: bool
) -> None:
    held = await three_holds(imported)
    await drain(imported)
    with pytest.raises(DiedError):
        await extend(imported, stores=dying(imported.stores.maintenance, line))
    if is_drained:
        await drain(imported)

    await lose_everything(imported)
    assert await recover_shards(beside) == 1
    await work(beside)

    assert await moved_ms(beside, *held) == [MORE_MS] * 3
    assert await rows(imported, "SELECT extended FROM hold_extensions") == [(3,)]
    assert (await extend(beside)).extended == 3
    assert await moved_ms(beside, *held) == [2 * MORE_MS] * 3


@pytest.mark.usefixtures("pages_of_one")
async def test_a_redis_that_is_lost_twice_extends_each_hold_once(
    imported: Service, beside: Service
) -> None:
    held = await three_holds(imported)
    await drain(imported)

    first = extend(imported, stores=failing_at(imported.stores.maintenance, at_page(1)))
    second = ExtensionWorker(failing_at(beside.stores.maintenance, at_page(1))).run_once()
    for dies in (first, second):
        with pytest.raises(DiedError):
            await dies
        await drain(beside)
        await lose_everything(beside)
        await recover_shards(beside)

    assert await work(beside) == 1
    assert await moved_ms(beside, *held) == [MORE_MS] * 3


@pytest.mark.usefixtures("pages_of_one")
async def test_a_redis_that_fell_back_to_the_middle_of_an_extension_extends_each_hold_once(
    imported: Service, beside: Service
) -> None:
    held = await three_holds(imported)
    client = redis_of(imported, decodes=False)
    with pytest.raises(DiedError):
        await extend(imported, stores=failing_at(imported.stores.maintenance, at_page(1)))
    older = {key: await client.dump(key) for key in await client.keys("*")}
    with pytest.raises(DiedError):
        await ExtensionWorker(failing_at(beside.stores.maintenance, at_page(1))).run_once()
    await drain(beside)

    await lose_everything(imported)
    for key, value in older.items():
        await client.restore(key, 0, value)
    await recover_shards(beside)

    assert await ways(beside) == ["reconciled"]
    assert sorted(await moved_ms(beside, *held)) == [0, MORE_MS, MORE_MS]
    assert await work(beside) == 1
    assert await moved_ms(beside, *held) == [MORE_MS] * 3


@pytest.mark.usefixtures("pages_of_one")
async def test_a_process_that_goes_on_with_an_extension_which_was_finished_moves_nothing(
    imported: Service, beside: Service
) -> None:
    held = await three_holds(imported)
    with pytest.raises(DiedError):
        await extend(imported, stores=dying(imported.stores.maintenance, "extend: after page"))
    (unfinished,) = await imported.stores.maintenance.extensions.unfinished("exam-1")
    await work(beside)

    shard = imported.stores.registry.shard("exam-1")
    serials = [each.id.rpartition(".")[2] for each in held]
    late = imported.stores.maintenance.extending.extend(shard, unfinished.extension, serials)

    assert [moved async for moved in late] == [0, 0, 0]
    assert await moved_ms(imported, *held) == [MORE_MS] * 3


async def test_a_store_that_fails_leaves_the_rest_to_a_worker(
    imported: Service, beside: Service
) -> None:
    held = await hold(imported)

    def failpoint(line: str) -> None:
        if line == "extend: taken up":
            raise SeatsUnavailable("as if redis were away")

    undone = await extend(imported, stores=failing_at(imported.stores.maintenance, failpoint))

    assert (undone.is_done, undone.extended) == (False, 0)
    assert await work(beside) == 1
    assert await moved_ms(imported, held) == [MORE_MS]


async def test_the_steps_are_in_the_journal_under_who_asked(imported: Service) -> None:
    held = await hold(imported)

    await extend(imported, "jinan")

    serial = held.id.rpartition(".")[2]
    query = "SELECT verb, key_id FROM journal WHERE subject = $1 ORDER BY version"
    assert [verb for verb, _ in await rows(imported, query, serial)] == ["reserve", "extend"]
    query = "SELECT action, subject, reason, outcome, detail->>'seconds' FROM ops_actions"
    assert await rows(imported, query) == [("extend-holds", "jinan/*", WHY, "done", "1800")]


async def pause(service: Service, venue: str = "") -> Pause:
    wanted = Pause(venue, "", stops_changes=False, reason=WHY, retry_after_s=60, since_ms=0)
    paused = await pause_exam(service.stores, "exam-1", wanted)
    # As if it were longer ago.
    query = "UPDATE exams SET pauses = jsonb_set(pauses, '{0,since_ms}', to_jsonb($1::bigint))"
    await rows(service, f"{query} RETURNING id", paused.since_ms - MORE_MS)
    return paused


async def test_holds_have_as_much_longer_as_a_pause_of_their_venue_lasted(
    imported: Service,
) -> None:
    jinan, tianjin = await hold(imported), await hold(imported, "candidate-2", "tianjin")
    paused = await pause(imported, "jinan")

    stores = imported.stores.maintenance
    done = await resume_exam(stores, "exam-1", "jinan", "", "", extend_holds=True)

    assert done.extended is not None
    assert done.extended.ms == done.until_ms - paused.since_ms + MORE_MS
    assert await moved_ms(imported, jinan, tianjin) == [done.extended.ms, 0]


@pytest.mark.parametrize(
    ("line", "is_extended"), [("resume: before commit", False), ("resume: after commit", True)]
)
async def test_a_resumption_that_died_has_ended_the_pause_and_extends_or_neither(
    imported: Service, beside: Service, line: str, is_extended: bool
) -> None:
    held = await hold(imported)
    await pause(imported)
    stores = dying(imported.stores.maintenance, line)

    with pytest.raises(DiedError):
        await resume_exam(stores, "exam-1", "", "", "", extend_holds=True)

    assert await work(beside) == int(is_extended)
    await beside.stores.registry.refresh()
    assert bool(beside.stores.registry.find("exam-1").pauses) is not is_extended
    (longer_ms,) = await moved_ms(imported, held)
    assert (longer_ms >= MORE_MS) is is_extended


async def test_an_extended_hold_can_be_paid(imported: Service) -> None:
    held = await hold(imported)
    await extend(imported)

    paid = await confirm(imported.stores.payments, payment(held))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_both_books(imported, booked=1)
