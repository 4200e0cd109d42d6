"""Importing an exam into both stores: all of it or nothing, and again until it is done.

Over 400 lines because it follows one use case through its crash table.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import (
    DefinitionRefused,
    ImportUnfinished,
    LedgerUnavailable,
    SeatsUnavailable,
)
from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.exams import ExamLedger, StoredExam
from quota_service.ledger.pool import TransactionLimits
from quota_service.registration.import_exam import import_exam
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from quota_service.workers.capacity import CapacityWorker
from tests.support.books import check_books
from tests.support.exams import SEATS, exam_definition
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, failing_at

DEFINITION = exam_definition()
"""Made once, so that its times stay the same from import to import."""


def exam(seats: Mapping[str, Mapping[str, int]] | None = None, **changes: Any) -> Exam:
    """Return the test exam with other seats at some venues, or other members."""
    more = {venue: {**SEATS.get(venue, {}), **new} for venue, new in (seats or {}).items()}
    venues = [*DEFINITION["venues"]]
    venues += [
        {"id": venue, "title": {"zh": "新考点", "en": venue}}
        for venue in more
        if venue not in SEATS
    ]
    return parse_exam({**DEFINITION, "seats": {**SEATS, **more}, "venues": venues, **changes})


async def hold(service: Service, candidate: str, subject: str = "general") -> str:
    order = Order(candidate, (subject,), ("jinan",), accepted_notice=True)
    return (await reserve(service.stores.reservations, "exam-1", order, "key-1")).reservation.id


async def seats_of(service: Service) -> tuple[Mapping[Quota, int], dict[Quota, int]]:
    """Return the capacities in Redis and in Postgres, those that are not 0."""
    stores = service.stores
    snapshot = await stores.seats.snapshot(stores.registry.shard("exam-1"))
    async with stores.ledger.connection() as connection:
        stored = await stores.exams.capacity(connection, "exam-1")
    return (
        {quota: seats for quota, seats in snapshot.capacity.items() if seats},
        {quota: seats for quota, seats in stored.items() if seats},
    )


def some(exam: Exam) -> dict[Quota, int]:
    return {quota: seats for quota, seats in exam.seats.items() if seats}


@pytest.fixture
async def imported(service: Service) -> Service:
    """A service that has imported exactly the definition of this module."""
    await import_exam(service.stores.maintenance, exam())
    return service


async def check(service: Service, wanted: Exam) -> None:
    """Fail unless both stores have the seats of a definition, and Redis's books balance."""
    assert await seats_of(service) == (some(wanted), some(wanted))
    assert service.stores.registry.find("exam-1") == wanted
    await check_books(redis_of(service), service.stores.registry.shard("exam-1"))


async def test_a_new_exam_stands_in_both_stores_and_is_open(service: Service) -> None:
    definition = exam_definition("exam-2")

    imported = await import_exam(service.stores.maintenance, parse_exam(definition))

    assert (imported.created, imported.changes) == (True, ())
    shard = service.stores.registry.shard("exam-2")
    snapshot = await service.stores.seats.snapshot(shard)
    assert snapshot.remaining == parse_exam(definition).seats


async def test_the_same_definition_again_changes_nothing(imported: Service) -> None:
    before = await imported.stores.ledger.fetch("select_exams", [], [])
    version = await version_of(imported)

    again = await import_exam(imported.stores.maintenance, exam())

    after = await imported.stores.ledger.fetch("select_exams", [], [])
    assert (again.created, again.changes) == (False, ())
    assert [row["revision"] for row in after] == [row["revision"] for row in before]
    assert await version_of(imported) == version


async def version_of(service: Service) -> int:
    shard = service.stores.registry.shard("exam-1")
    return (await service.stores.seats.snapshot(shard)).version


async def test_more_seats_and_new_venues_are_there_at_once(imported: Service) -> None:
    more = exam({"jinan": {"general": 10}, "xian": {"qms": 4}})

    done = await import_exam(imported.stores.maintenance, more)

    assert {change.where for change in done.changes} == {
        "seats.jinan.general",
        "seats.xian.qms",
        "venues.xian",
    }
    await check(imported, more)


async def test_fewer_seats_are_taken_from_those_that_are_free(imported: Service) -> None:
    await hold(imported, "candidate-1")
    fewer = exam({"jinan": {"general": 1, "qms": 0}})

    await import_exam(imported.stores.maintenance, fewer)

    await check(imported, fewer)


async def test_seats_below_what_is_taken_are_refused_with_every_problem(
    imported: Service,
) -> None:
    for i, subject in enumerate(("general", "general", "qms")):
        await hold(imported, f"candidate-{i}", subject)

    with pytest.raises(DefinitionRefused) as refused:
        await import_exam(
            imported.stores.maintenance, exam({"jinan": {"general": 1, "qms": 0, "service": 9}})
        )

    assert {where for where, _ in refused.value.problems} == {
        "seats.jinan.general",
        "seats.jinan.qms",
    }
    await check(imported, exam())


async def test_a_subject_does_not_change_its_session_while_it_is_reserved(
    imported: Service,
) -> None:
    await hold(imported, "candidate-1", "service")
    subjects = [
        {**subject, "session": "day1-am"} if subject["id"] == "service" else subject
        for subject in DEFINITION["subjects"]
    ]

    with pytest.raises(DefinitionRefused, match=r"subjects\.service\.session"):
        await import_exam(imported.stores.maintenance, exam(subjects=subjects))

    await check(imported, exam())


async def test_a_race_for_the_last_seat_is_lost_by_the_import_as_a_whole(
    imported: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = SeatStore.snapshot

    async def then_somebody_reserves(store: SeatStore, *args: Any) -> Any:
        found = await snapshot(store, *args)
        monkeypatch.undo()
        await hold(imported, "candidate-1")
        return found

    monkeypatch.setattr(SeatStore, "snapshot", then_somebody_reserves)

    with pytest.raises(DefinitionRefused, match=r"jinan\.general"):
        await import_exam(imported.stores.maintenance, exam({"jinan": {"general": 0, "qms": 9}}))

    await check(imported, exam())


async def test_a_crash_between_the_commit_and_redis_is_finished_by_importing_again(
    imported: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = exam({"jinan": {"general": 10}})

    async def die(*_: object) -> None:
        raise SeatsUnavailable("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "set_capacity", die)
        with pytest.raises(ImportUnfinished, match="exam-1 is stored"):
            await import_exam(imported.stores.maintenance, more)
    in_redis, in_postgres = await seats_of(imported)

    again = await import_exam(imported.stores.maintenance, more)

    jinan = Quota("jinan", "general")
    assert (in_redis[jinan], in_postgres[jinan]) == (3, 10)
    assert (again.created, again.changes) == (False, ())
    await check(imported, more)


async def test_a_crash_between_redis_and_the_commit_never_leaves_redis_with_more(
    imported: Service,
) -> None:
    fewer = exam({"jinan": {"general": 1}, "tianjin": {"general": 50}})
    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores, "import: before commit").maintenance, fewer)
    in_redis, in_postgres = await seats_of(imported)

    await import_exam(imported.stores.maintenance, exam())

    assert in_postgres == some(exam())
    assert all(seats <= in_postgres[quota] for quota, seats in in_redis.items())
    assert in_redis[Quota("jinan", "general")] == 1
    await check(imported, exam())


@pytest.mark.parametrize("step", ["open", "set_capacity"])
async def test_a_new_exam_whose_import_died_is_not_served_until_it_is_finished(
    service: Service, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    new = parse_exam(exam_definition("exam-2"))

    async def die(*_: object) -> None:
        raise SeatsUnavailable("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, step, die)
        with pytest.raises(ImportUnfinished):
            await import_exam(service.stores.maintenance, new)
    served = [shard.exam for shard in service.stores.registry.open_shards()]

    again = await import_exam(service.stores.maintenance, new)

    assert served == ["exam-1"]
    assert again.created is False
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-2"))
    assert snapshot.remaining == new.seats


async def test_imports_at_once_leave_both_stores_with_one_of_the_definitions(
    imported: Service,
) -> None:
    wishes = [exam({"jinan": {"general": seats}}) for seats in (1, 5, 9, 2)]
    async with open_service(imported.settings) as beside:
        await refresh_memory(beside)

        await asyncio.gather(
            *(
                import_exam(service.stores.maintenance, wish)
                for service, wish in zip((imported, beside) * 2, wishes, strict=True)
            )
        )

    await imported.stores.registry.refresh()
    await check(imported, imported.stores.registry.find("exam-1"))
    assert imported.stores.registry.find("exam-1") in wishes


async def test_another_process_serves_a_new_exam_after_its_next_look(service: Service) -> None:
    async with open_service(service.settings) as beside:
        await refresh_memory(beside)
        await import_exam(service.stores.maintenance, parse_exam(exam_definition("exam-2")))

        known_before = [known.id for known in beside.stores.registry.all()]
        await beside.stores.registry.refresh()

        assert known_before == ["exam-1"]
        assert [known.id for known in beside.stores.registry.all()] == ["exam-1", "exam-2"]


async def test_first_imports_at_once_make_one_exam_and_find_each_other(service: Service) -> None:
    definition = parse_exam(exam_definition("exam-2"))
    async with open_service(service.settings) as beside:
        await refresh_memory(beside)

        done = await asyncio.gather(
            *(import_exam(each.stores.maintenance, definition) for each in (service, beside) * 4)
        )

        assert sorted(each.created for each in done) == [False] * 7 + [True]
        assert not any(each.changes for each in done)
        for each in (service, beside):
            snapshot = await each.stores.seats.snapshot(each.stores.registry.shard("exam-2"))
            assert snapshot.remaining == definition.seats


async def test_a_look_at_the_exams_that_was_overtaken_takes_nothing_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = service.stores.registry
    exams = service.stores.exams
    before = await exams.all({})
    begun, overtaken = asyncio.Event(), asyncio.Event()

    async def slow(_self: ExamLedger, _known: object) -> Mapping[str, StoredExam]:
        begun.set()
        await overtaken.wait()
        return before

    async def another(_self: ExamLedger) -> str:
        return "another"

    with monkeypatch.context() as patched:
        patched.setattr(ExamLedger, "all", slow)
        patched.setattr(ExamLedger, "fingerprint", another)
        look = asyncio.create_task(registry.refresh())
        await begun.wait()
    await import_exam(service.stores.maintenance, parse_exam(exam_definition("exam-2")))
    overtaken.set()
    await look

    assert [exam.id for exam in registry.all()] == ["exam-1", "exam-2"]


@pytest.mark.parametrize("step", ["open", "set_capacity"])
async def test_the_worker_finishes_a_first_import_that_died(
    service: Service, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    new = parse_exam(exam_definition("exam-2"))
    worker = CapacityWorker(service.stores)

    async def die(*_: object) -> None:
        raise SeatsUnavailable("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, step, die)
        with pytest.raises(ImportUnfinished):
            await import_exam(service.stores.maintenance, new)
        await service.stores.registry.refresh()
        with pytest.raises(SeatsUnavailable):
            await worker.run_once()

    rounds = [dict(await worker.run_once()) for _ in range(2)]

    assert rounds == [{"finished": 1}, {"finished": 0}]
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-2"))
    assert snapshot.remaining == new.seats


@pytest.mark.parametrize(("seats", "line"), [(10, "after commit"), (1, "before commit")])
async def test_the_worker_finishes_a_changed_import_that_died(
    imported: Service, seats: int, line: str
) -> None:
    changed = exam({"jinan": {"general": seats}})
    worker = CapacityWorker(imported.stores)
    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores, f"import: {line}").maintenance, changed)
    await imported.stores.registry.refresh()
    in_redis, in_postgres = await seats_of(imported)
    done = dict(await worker.run_once())

    assert in_redis != in_postgres
    assert done == {"finished": 1}
    assert await seats_of(imported) == (in_postgres, in_postgres)


async def test_a_definition_that_is_known_is_not_read_again(imported: Service) -> None:
    exams = ExamLedger(imported.stores.ledger)
    known = await exams.all({})

    rows = await imported.stores.ledger.fetch(
        "select_exams", ["exam-1", "exam-9"], [known["exam-1"].revision, 1]
    )
    again = await exams.all(known)
    await import_exam(imported.stores.maintenance, exam({"jinan": {"general": 9}}))
    changed = await exams.all(known)

    assert [row["definition"] for row in rows] == [None]
    assert again["exam-1"].definition is known["exam-1"].definition
    assert changed["exam-1"].exam.seats[Quota("jinan", "general")] == 9


async def test_an_import_that_fails_before_its_commit_has_changed_nothing(
    imported: Service,
) -> None:
    fewer = exam({"jinan": {"general": 1}, "tianjin": {"general": 50}})

    def fail(line: str) -> None:
        if line == "import: before commit":
            raise LedgerUnavailable("the connection was lost")

    with pytest.raises(LedgerUnavailable):
        await import_exam(failing_at(imported.stores, fail).maintenance, fewer)

    await check(imported, exam())


async def test_an_import_may_take_longer_in_redis_than_postgres_waits_for_a_silent_transaction(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = settings.with_limits(TransactionLimits(idle_timeout_s=2))
    async with open_service(patient) as service:
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, exam())
        ended = asyncio.Event()
        set_capacity = SeatStore.set_capacity

        async def slowly(store: SeatStore, *words: Any) -> Any:
            asyncio.get_running_loop().call_later(2.5, ended.set)
            await ended.wait()
            return await set_capacity(store, *words)

        with monkeypatch.context() as patched:
            patched.setattr(SeatStore, "set_capacity", slowly)
            fewer = exam({"jinan": {"general": 1}})
            done = await import_exam(service.stores.maintenance, fewer)

        assert [change.where for change in done.changes] == ["seats.jinan.general"]
        await check(service, fewer)
