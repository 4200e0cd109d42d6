"""Ceilings over both stores: imports, crashes on the way, and what the audit says of them."""

from collections.abc import Mapping

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.exam import Exam
from quota_service.registration.audit import audit, repair
from quota_service.registration.import_exam import finish_import, import_exam
from quota_service.registration.reserve import Order, reserve
from tests.support.exams import exam_definition
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying

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
    assert done == ["Redis has the ceilings of Postgres"]
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
