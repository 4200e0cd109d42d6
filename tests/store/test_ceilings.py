"""Ceilings over both stores: imports, crashes on the way, and what the audit says of them."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import DefinitionRefused, SoldOut
from quota_service.domain.exam import Exam
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.registration.audit import audit, repair
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.sync_shard import finish_import
from quota_service.seats.keys import Shard
from tests.support.bookings import book
from tests.support.exams import exam_definition
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, payment

DEFINITION = exam_definition()
ROOMS = {"jinan": {"day1-pm": 2, "day1-am": 3}}


def exam(rooms: Mapping[str, Mapping[str, int]] | None = None, **changes: object) -> Exam:
    return parse_exam({**DEFINITION, **({"rooms": rooms} if rooms else {}), **changes})


async def hold(service: Service, candidate: str, subject: str = "qms") -> None:
    order = Order(candidate, (subject,), ("jinan",), accepted_notice=True)
    await reserve(service.stores.reservations, "exam-1", order, "key-1")


async def left(service: Service) -> dict[str, int]:
    """Return what Redis has left under its ceilings."""
    key = service.stores.registry.shard("exam-1").key("ceiling_left")
    return {name: int(seats) for name, seats in (await redis_of(service).hgetall(key)).items()}


async def stored(service: Service) -> dict[str, int]:
    """Return the ceilings of Postgres."""
    async with service.stores.ledger.connection() as connection:
        ceilings = await service.stores.exams.ceilings(connection, "exam-1")
    return {str(ceiling): ceiling.seats for ceiling in ceilings}


@pytest.fixture
async def imported(service: Service) -> Service:
    """A service with an exam without ceilings."""
    await import_exam(service.stores.maintenance, exam())
    return service


async def test_ceilings_are_added_to_a_running_exam_changed_and_taken_away(
    imported: Service,
) -> None:
    maintenance = imported.stores.maintenance
    await hold(imported, "c-1")

    added = await import_exam(maintenance, exam(ROOMS))
    assert [change.where for change in added.changes] == [
        "rooms.jinan.day1-am",
        "rooms.jinan.day1-pm",
    ]
    assert await left(imported) == {"jinan/day1-pm": 1, "jinan/day1-am": 3}
    assert await stored(imported) == {"jinan/day1-pm": 2, "jinan/day1-am": 3}

    await import_exam(maintenance, exam({"jinan": {"day1-pm": 3}}))
    assert await left(imported) == {"jinan/day1-pm": 2}
    assert await stored(imported) == {"jinan/day1-pm": 3}

    await import_exam(maintenance, exam())
    assert (await left(imported), await stored(imported)) == ({}, {})


async def test_a_new_exam_has_its_ceilings_when_it_opens(service: Service) -> None:
    definition = {**exam_definition("exam-2"), "rooms": ROOMS}

    await import_exam(service.stores.maintenance, parse_exam(definition))

    key = service.stores.registry.shard("exam-2").key("ceiling_left")
    assert await redis_of(service).hgetall(key) == {"jinan/day1-pm": "2", "jinan/day1-am": "3"}


async def test_a_ceiling_below_what_is_taken_is_refused_and_nothing_changes(
    imported: Service,
) -> None:
    await import_exam(imported.stores.maintenance, exam(ROOMS))
    await hold(imported, "c-1", "qms")
    await hold(imported, "c-2", "ems")

    with pytest.raises(DefinitionRefused) as refused:
        await import_exam(imported.stores.maintenance, exam({"jinan": {"day1-pm": 1}}))

    assert list(refused.value.problems) == [
        ("rooms.jinan.day1-pm", "cannot be 1 while 2 seats are taken")
    ]
    assert await stored(imported) == {"jinan/day1-pm": 2, "jinan/day1-am": 3}


@pytest.mark.parametrize("line", ["import: before redis", "import: before commit"])
async def test_a_crash_before_the_commit_leaves_the_ceilings_there_were(
    imported: Service, line: str
) -> None:
    await import_exam(imported.stores.maintenance, exam(ROOMS))

    lower = {"jinan": {"day1-pm": 1}, "tianjin": {"day1-pm": 1}}
    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores.maintenance, line), exam(lower))
    await finish_import(imported.stores, "exam-1")

    assert await left(imported) == {"jinan/day1-pm": 2, "jinan/day1-am": 3}
    assert await stored(imported) == {"jinan/day1-pm": 2, "jinan/day1-am": 3}


async def test_a_crash_after_the_commit_is_finished_by_a_worker(imported: Service) -> None:
    await import_exam(imported.stores.maintenance, exam(ROOMS))
    changed = exam({"jinan": {"day1-pm": 1}, "tianjin": {"day1-am": 5}})

    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores.maintenance, "import: after commit"), changed)
    assert await left(imported) == {"jinan/day1-pm": 1, "jinan/day1-am": 3, "tianjin/day1-am": 5}

    assert await finish_import(imported.stores, "exam-1")
    assert await left(imported) == {"jinan/day1-pm": 1, "tianjin/day1-am": 5}
    assert not await finish_import(imported.stores, "exam-1")


async def test_a_ceiling_that_redis_counts_wrongly_is_told_and_mended(imported: Service) -> None:
    maintenance = imported.stores.maintenance
    await import_exam(maintenance, exam(ROOMS))
    key = imported.stores.registry.shard("exam-1").key("ceiling_left")
    await redis_of(imported).hincrby(key, "jinan/day1-pm", 5)
    await redis_of(imported).hdel(key, "jinan/day1-am")

    found = await audit(maintenance, "exam-1")
    done = await repair(maintenance, found)

    assert [str(difference) for difference in found.differences] == [
        "P7 ceiling jinan/day1-am: expected 3 seats less 0 taken, found none",
        "P7 ceiling jinan/day1-pm: expected 2 seats less 0 taken, found 7 left",
    ]
    assert done == ["Redis has each ceiling of Postgres"]
    assert (await audit(maintenance, "exam-1")).is_clean


async def test_seats_that_a_ceiling_in_postgres_missed_are_told_and_counted(
    imported: Service,
) -> None:
    maintenance = imported.stores.maintenance
    await import_exam(maintenance, exam(ROOMS))
    async with imported.stores.ledger.connection() as connection:
        await connection.execute("UPDATE quotas SET confirmed = 1 WHERE subject = 'qms'")

    found = await audit(maintenance, "exam-1")
    await repair(maintenance, found)

    assert "P1 ceiling jinan/day1-pm: expected 1 booked, at most 2, found 0 counted" in [
        str(difference) for difference in found.differences
    ]
    async with imported.stores.ledger.connection() as connection:
        counted = await connection.fetchval(
            "SELECT confirmed FROM ceilings WHERE venue = 'jinan' AND session = 'day1-pm'"
        )
    assert counted == 1


async def under(service: Service) -> tuple[dict[str, int], dict[str, int]]:
    """Return what is left under ceilings in Redis, and what Postgres has counted under them."""
    async with service.stores.ledger.connection() as connection:
        rows = await connection.fetch("SELECT venue, session, confirmed FROM ceilings")
    counted = {f"{row['venue']}/{row['session']}": row["confirmed"] for row in rows}
    return await left(service), counted


@pytest.fixture
async def limited(imported: Service) -> Service:
    """A service whose exam has two seats in a session, one at another venue."""
    rooms = {"jinan": {"day1-pm": 2}, "tianjin": {"day1-pm": 1}}
    await import_exam(imported.stores.maintenance, exam(rooms))
    return imported


async def test_a_seat_is_taken_from_its_quota_and_from_under_its_ceiling_together(
    limited: Service,
) -> None:
    await hold(limited, "c-1", "qms")
    await hold(limited, "c-2", "ems")

    with pytest.raises(SoldOut) as refused:
        await hold(limited, "c-3", "qms")

    assert [(seats.venue, seats.remaining) for seats in refused.value.left] == [("jinan", 0)]
    assert await left(limited) == {"jinan/day1-pm": 0, "tianjin/day1-pm": 1}
    assert (await audit(limited.stores.maintenance, "exam-1")).is_clean


async def test_a_booking_keeps_its_place_under_a_ceiling_until_it_moves_or_is_refunded(
    limited: Service,
) -> None:
    payments = limited.stores.payments
    booked = await book(limited, "c-1", "jinan", ("qms",))
    assert await under(limited) == (
        {"jinan/day1-pm": 1, "tianjin/day1-pm": 1},
        {"jinan/day1-pm": 1, "tianjin/day1-pm": 0},
    )

    await change_venue(payments, booked.id, "tianjin")
    assert await under(limited) == (
        {"jinan/day1-pm": 2, "tianjin/day1-pm": 0},
        {"jinan/day1-pm": 0, "tianjin/day1-pm": 1},
    )

    await refund(payments, booked.id)
    assert await under(limited) == (
        {"jinan/day1-pm": 2, "tianjin/day1-pm": 1},
        {"jinan/day1-pm": 0, "tianjin/day1-pm": 0},
    )
    assert (await audit(limited.stores.maintenance, "exam-1")).is_clean


async def test_a_place_that_redis_gave_away_twice_is_booked_once(limited: Service) -> None:
    """Redis had lost the ceiling; its constraint in Postgres holds all the same."""
    key = limited.stores.registry.shard("exam-1").key("ceiling_left")
    await redis_of(limited).hset(key, "tianjin/day1-pm", 9)
    await book(limited, "c-1", "tianjin", ("qms",))
    order = Order("c-2", ("qms",), ("tianjin",), accepted_notice=True)
    held = (await reserve(limited.stores.reservations, "exam-1", order, "key-1")).reservation

    paid = await confirm(limited.stores.payments, payment(held, amount=held.amount))

    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    assert (await under(limited))[1] == {"jinan/day1-pm": 0, "tianjin/day1-pm": 1}


@pytest.mark.parametrize("loss", [lose_everything, another_run])
async def test_a_recovery_has_the_ceilings_again_with_what_stands_under_them(
    limited: Service, loss: Callable[[Service], Awaitable[None]]
) -> None:
    await book(limited, "c-1", "jinan", ("qms", "general"))
    await hold(limited, "c-2", "ems")
    await drain(limited)
    await loss(limited)

    await recover_shards(limited)

    assert await left(limited) == {"jinan/day1-pm": 0, "tianjin/day1-pm": 1}
    assert (await audit(limited.stores.maintenance, "exam-1")).is_clean


async def test_a_hold_that_has_no_place_any_more_is_left_out_of_a_rebuild(
    limited: Service,
) -> None:
    await hold(limited, "c-1", "qms")
    await hold(limited, "c-2", "ems")
    await drain(limited)
    async with limited.stores.ledger.connection() as connection:
        await connection.execute("UPDATE ceilings SET seats = 1 WHERE venue = 'jinan'")
    await lose_everything(limited)

    await recover_shards(limited)

    assert (await left(limited))["jinan/day1-pm"] == 0
    assert (await limited.stores.seats.totals(shard_of(limited))).live_holds == 1
    assert (await audit(limited.stores.maintenance, "exam-1")).is_clean


def shard_of(service: Service) -> Shard:
    return service.stores.registry.shard("exam-1")
