"""Set-asides over both stores: imports, their end, crashes on the way, recovery and audit."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.exam import Exam, Quota
from quota_service.registration.audit import audit, repair
from quota_service.registration.close_set_asides import close_set_asides
from quota_service.registration.import_exam import check_import, import_exam
from quota_service.registration.release import release
from quota_service.registration.sync_shard import finish_import
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ReserveRequest
from quota_service.seats.set_asides import KeptSeats
from quota_service.workers.set_asides import SetAsideWorker
from tests.support.bookings import book
from tests.support.books import check_books
from tests.support.exams import SEATS, exam_definition
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying

DEFINITION = exam_definition()
GENERAL, QMS = Quota("jinan", "general"), Quota("jinan", "qms")
UNTIL = rfc3339(round((time.time() + 3000) * 1000))
SERIALS = {name: name * 24 for name in "abcdef"}


def exam(
    kept: Mapping[str, Mapping[str, int]],
    *,
    seats: Mapping[str, Mapping[str, int]] | None = None,
) -> Exam:
    """Return the exam with set-asides at jinan, seats by subject."""
    tables = [
        {
            "id": id_,
            "title": {"zh": "组", "en": id_},
            "until": UNTIL,
            "seats": {"jinan": by_subject},
        }
        for id_, by_subject in kept.items()
    ]
    more: dict[str, Any] = {"set_asides": tables} if tables else {}
    return parse_exam({**DEFINITION, **more, "seats": {**SEATS, **(seats or {})}})


def shard_of(service: Service) -> Shard:
    return service.stores.registry.shard("exam-1")


async def kept(service: Service) -> dict[str, dict[Quota, KeptSeats]]:
    return await service.stores.set_aside_store.read(shard_of(service))


async def on_sale(service: Service, quota: Quota) -> int:
    return (await service.stores.seats.snapshot(shard_of(service))).remaining[quota]


async def hold(service: Service, serial: str, set_aside: str, subject: str = "general") -> Code:
    """Reserve a seat of a set-aside, `id:code:uses`; that of a subject on open sale for ""."""
    known = service.stores.registry.find("exam-1")
    sessions = (known.session_of[subject],)
    request = ReserveRequest(
        SERIALS[serial], f"c-{serial}", (subject,), sessions, ("jinan",), "hash"
    )
    request.set_aside = set_aside
    answer = await service.stores.seats.reserve(shard_of(service), known, request)
    return answer.code


async def clean(service: Service) -> None:
    """Fail unless both stores agree."""
    await check_books(redis_of(service), shard_of(service))
    assert (await audit(service.stores.maintenance, "exam-1")).differences == ()


@pytest.fixture
async def imported(service: Service) -> Service:
    """A service with an exam without set-asides."""
    await import_exam(service.stores.maintenance, exam({}))
    return service


@pytest.fixture
async def staffed(imported: Service) -> Service:
    """A service whose exam keeps two seats for the staff."""
    await import_exam(imported.stores.maintenance, exam({"staff": {"general": 2}}))
    return imported


async def test_set_asides_are_added_to_a_running_exam_changed_and_taken_away(
    staffed: Service,
) -> None:
    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(2, 2)}}
    assert await on_sale(staffed, GENERAL) == 1

    changed = exam({"staff": {"general": 1, "qms": 1}, "press": {"general": 1}})
    await import_exam(staffed.stores.maintenance, changed)
    assert await kept(staffed) == {
        "press": {GENERAL: KeptSeats(1, 1)},
        "staff": {GENERAL: KeptSeats(1, 1), QMS: KeptSeats(1, 1)},
    }
    await clean(staffed)

    await import_exam(staffed.stores.maintenance, exam({}))
    assert (await kept(staffed), await on_sale(staffed, GENERAL)) == ({}, 3)
    await clean(staffed)


async def test_a_set_aside_needs_seats_that_are_free_and_keeps_those_that_are_used(
    staffed: Service,
) -> None:
    await hold(staffed, "a", "staff::")
    await hold(staffed, "b", "")
    too_many, too_few = exam({"staff": {"general": 3}}), exam({"staff": {"qms": 1}})

    with pytest.raises(DefinitionRefused) as more:
        await import_exam(staffed.stores.maintenance, too_many)
    with pytest.raises(DefinitionRefused) as fewer:
        await import_exam(staffed.stores.maintenance, too_few)
    checked = await check_import(staffed.stores.maintenance, too_few)
    seen = await check_import(staffed.stores.maintenance, too_many)

    told = "has 0 free seats, too few to set aside"
    assert list(more.value.problems) == [("seats.jinan.general", told)]
    place = "set_asides.staff.seats.jinan.general"
    assert list(fewer.value.problems) == [(place, "cannot be 0 while 1 of them are used")]
    assert [problem.where for problem in checked.problems] == [place]
    assert [problem.where for problem in seen.problems] == ["seats.jinan.general"]
    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(2, 1)}}
    await clean(staffed)


async def test_seats_that_come_with_an_import_for_a_group_are_never_on_sale(
    staffed: Service,
) -> None:
    await hold(staffed, "a", "")
    assert await on_sale(staffed, GENERAL) == 0
    more = {"jinan": {**SEATS["jinan"], "general": 6}}

    await import_exam(staffed.stores.maintenance, exam({"staff": {"general": 4}}, seats=more))

    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(4, 4)}}
    assert await on_sale(staffed, GENERAL) == 1
    await clean(staffed)


@pytest.mark.parametrize("line", ["import: before redis", "import: before commit"])
async def test_a_crash_before_the_commit_leaves_the_set_asides_there_were(
    staffed: Service, line: str
) -> None:
    changed = exam({"staff": {"general": 3}, "press": {"qms": 2}})
    with pytest.raises(DiedError):
        await import_exam(dying(staffed.stores.maintenance, line), changed)

    await finish_import(staffed.stores, "exam-1")

    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(2, 2)}}
    assert not await finish_import(staffed.stores, "exam-1")
    await clean(staffed)


async def test_a_crash_after_the_commit_is_finished_by_a_worker(staffed: Service) -> None:
    more = {"jinan": {**SEATS["jinan"], "general": 5}}
    changed = exam({"staff": {"general": 3}, "press": {"qms": 2}}, seats=more)
    with pytest.raises(DiedError):
        await import_exam(dying(staffed.stores.maintenance, "import: after commit"), changed)

    assert await finish_import(staffed.stores, "exam-1")

    assert await kept(staffed) == {
        "press": {QMS: KeptSeats(2, 2)},
        "staff": {GENERAL: KeptSeats(3, 3)},
    }
    assert await on_sale(staffed, GENERAL) == 2
    await clean(staffed)


async def test_what_is_left_at_its_time_goes_to_everybody_and_so_does_what_comes_back(
    staffed: Service,
) -> None:
    await hold(staffed, "a", "staff:k1:1")
    worker = SetAsideWorker(staffed.stores)
    assert await worker.run_once() == {"closed": 0}
    await is_due(staffed)

    assert await worker.run_once() == {"closed": 1}

    assert (await kept(staffed), await on_sale(staffed, GENERAL)) == ({}, 2)
    assert await hold(staffed, "b", "staff::") is Code.SET_ASIDE_OVER
    await release(staffed.stores, id_of("a"))
    assert await on_sale(staffed, GENERAL) == 3
    assert await worker.run_once() == {"closed": 0}
    await clean(staffed)


@pytest.mark.parametrize("line", ["close set-aside: after commit", "close set-aside: after redis"])
async def test_a_set_aside_whose_end_was_cut_short_is_closed_by_another_worker(
    staffed: Service, line: str
) -> None:
    await hold(staffed, "a", "staff::")
    await is_due(staffed)

    with pytest.raises(DiedError):
        await close_set_asides(dying(staffed.stores, line))
    assert await close_set_asides(staffed.stores) == 1

    assert (await kept(staffed), await on_sale(staffed, GENERAL)) == ({}, 2)
    assert await close_set_asides(staffed.stores) == 0
    await clean(staffed)


async def test_a_set_aside_that_is_over_stays_so(staffed: Service) -> None:
    await is_due(staffed)
    await close_set_asides(staffed.stores)
    same = exam({"staff": {"general": 2}})

    again = await import_exam(staffed.stores.maintenance, same)
    with pytest.raises(DefinitionRefused) as refused:
        await import_exam(staffed.stores.maintenance, exam({"staff": {"general": 1}}))

    assert again.changes == ()
    assert list(refused.value.problems) == [
        ("set_asides.staff", "is over; a new one needs another id")
    ]
    assert not await finish_import(staffed.stores, "exam-1")
    assert await kept(staffed) == {}


@pytest.mark.parametrize("loss", [lose_everything, another_run])
async def test_a_recovery_keeps_the_seats_of_a_group_and_knows_those_that_are_used(
    staffed: Service, loss: Callable[[Service], Awaitable[None]]
) -> None:
    await hold(staffed, "a", "staff:k1:2")
    await hold(staffed, "b", "")
    await drain(staffed)
    await loss(staffed)

    await recover_shards(staffed)

    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(2, 1)}}
    assert await on_sale(staffed, GENERAL) == 0
    assert await staffed.stores.set_aside_store.uses(shard_of(staffed), ["k1"]) == {"k1": 1}
    await clean(staffed)


async def test_seats_that_are_booked_are_not_set_aside_by_a_rebuild(staffed: Service) -> None:
    """The set-aside was to grow when its seats were sold, and waits for them."""
    for name in "abc":
        await book(staffed, f"c-{name}", "tianjin", ("service",))
    await drain(staffed)
    async with staffed.stores.ledger.connection() as connection:
        await connection.execute(
            """UPDATE set_asides SET seats = '{"tianjin/service": 4}' WHERE id = 'staff'"""
        )
    await lose_everything(staffed)

    await recover_shards(staffed)

    service = Quota("tianjin", "service")
    assert await kept(staffed) == {"staff": {service: KeptSeats(2, 2)}}
    assert await on_sale(staffed, service) == 0
    await check_books(redis_of(staffed), shard_of(staffed))


async def test_a_recovery_brings_back_no_set_aside_that_is_over(staffed: Service) -> None:
    await hold(staffed, "a", "staff:k1:2")
    await drain(staffed)
    await is_due(staffed)
    with pytest.raises(DiedError):
        await close_set_asides(dying(staffed.stores, "close set-aside: after commit"))
    await another_run(staffed)

    await recover_shards(staffed)

    assert (await kept(staffed), await on_sale(staffed, GENERAL)) == ({}, 2)
    await clean(staffed)


async def test_seats_that_redis_keeps_wrongly_are_told_and_mended(staffed: Service) -> None:
    key = shard_of(staffed).key("aside_left")
    await redis_of(staffed).hincrby(key, "staff/jinan/general", 1)
    await redis_of(staffed).delete(shard_of(staffed).key("aside_seats"))

    found = await audit(staffed.stores.maintenance, "exam-1")
    await repair(staffed.stores.maintenance, found)

    places = [(difference.place, difference.found) for difference in found.differences]
    assert ("set-aside staff jinan/general", "none") in places
    assert ("jinan/general aside", "2 aside") in places
    await clean(staffed)
    assert await kept(staffed) == {"staff": {GENERAL: KeptSeats(2, 2)}}


def id_of(serial: str) -> str:
    return f"exam-1.0.{SERIALS[serial]}"


async def is_due(service: Service) -> None:
    """Let the time of every set-aside have come."""
    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE set_asides SET until = now()")
