"""Seat releases: planned, cancelled, carried out once, whatever dies on the way.

Over 400 lines because each marked line has its death and its repeat.
"""

import asyncio
import time
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import (
    DefinitionRefused,
    RegistrationClosed,
    ReleaseDone,
    ReleaseExists,
    ReleasePast,
    ReleaseTooLate,
    SoldOut,
    TooManyReleases,
    TooManySeats,
    UnknownQuota,
    UnknownRelease,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import Announce, Exam, Quota, SeatRelease
from quota_service.domain.seat_release import ReleaseState
from quota_service.registration import release_seats
from quota_service.registration.audit import audit
from quota_service.registration.import_exam import check_import, import_exam
from quota_service.registration.join_list import Wish, join_list
from quota_service.registration.release_seats import (
    cancel_release,
    find_release,
    list_releases,
    plan_release,
)
from quota_service.registration.reserve import Order, reserve
from quota_service.workers.dealing import DealingWorker
from quota_service.workers.seat_releases import SeatReleaseWorker
from tests.support.command_line import CommandLine
from tests.support.exams import SEATS, exam_definition
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.use_cases import DiedError, dying, hold

GENERAL, QMS = Quota("jinan", "general"), Quota("jinan", "qms")
DEFINITION = exam_definition(closes_in_s=86_400)
WHY = "the venue has opened a hall"
HOUR_MS = 3_600_000
DONE, PLANNED, CANCELLED = ReleaseState.DONE, ReleaseState.PLANNED, ReleaseState.CANCELLED
LINES = ["release: before commit", "release: after commit", "release: after redis"]


def now_ms() -> int:
    return round(time.time() * 1000)


def exam(*releases: dict[str, Any], **changes: Any) -> Exam:
    """Return the test exam with releases."""
    with_releases = {"releases": list(releases)} if releases else {}
    return parse_exam({**DEFINITION, **with_releases, **changes})


def member(name: str = "evening", in_ms: int = HOUR_MS, **seats: int) -> dict[str, Any]:
    """Return a release as a definition has it, with seats in Jinan."""
    at = rfc3339(now_ms() + in_ms)
    return {
        "id": name,
        "at": at,
        "announce": "everything",
        "seats": {"jinan": seats or {"general": 2}},
    }


def release(name: str = "evening", in_ms: int = HOUR_MS, **seats: int) -> SeatRelease:
    by_quota = {Quota("jinan", subject): n for subject, n in (seats or {"general": 2}).items()}
    return SeatRelease(name, now_ms() + in_ms, Announce.EVERYTHING, by_quota)


@pytest.fixture
async def imported(service: Service) -> Service:
    await import_exam(service.stores.maintenance, exam())
    await service.stores.clock.read()
    return service


async def plan(on: Service, *args: Any, **seats: int) -> None:
    await plan_release(on.stores, "exam-1", release(*args, **seats), WHY)


async def let_come(service: Service, name: str = "evening") -> None:
    """Move the time of a planned release into the past."""
    await move(service, "UPDATE seat_releases SET at = now() - interval '1 s' WHERE id = $1", name)


async def move(service: Service, statement: str, *args: str) -> None:
    async with service.stores.ledger.connection() as connection:
        await connection.execute(statement, *args)


async def work(service: Service) -> int:
    return dict(await SeatReleaseWorker(service.stores).run_once())["released"]


async def state(service: Service, name: str = "evening") -> ReleaseState:
    return (await find_release(service.stores, "exam-1", name)).state


async def capacities(service: Service, quota: Quota = GENERAL) -> tuple[int, int]:
    """Return the capacity of a quota in Redis and in Postgres."""
    stores = service.stores
    snapshot = await stores.seats.snapshot(stores.registry.shard("exam-1"))
    async with stores.ledger.connection() as connection:
        return snapshot.capacity[quota], (await stores.exams.capacity(connection, "exam-1"))[quota]


async def is_clean(service: Service) -> bool:
    await drain(service)
    return (await audit(service.stores.maintenance, "exam-1")).is_clean


async def test_a_release_comes_at_its_time_and_once(imported: Service) -> None:
    await plan(imported, general=2, qms=1)

    early = await work(imported)
    before = await capacities(imported)
    await let_come(imported)
    released = await work(imported)
    again = await work(imported)

    assert (early, before, released, again) == (0, (3, 3), 3, 0)
    assert await capacities(imported) == (5, 5)
    assert await capacities(imported, QMS) == (3, 3)
    assert await state(imported) is DONE
    for i in range(5):
        await hold(imported, f"candidate-{i}")
    with pytest.raises(SoldOut):
        await hold(imported, "candidate-5")
    assert await is_clean(imported)


@pytest.mark.parametrize("line", LINES)
async def test_a_release_that_died_on_its_way_is_finished_by_another_worker(
    imported: Service, line: str
) -> None:
    await plan(imported)
    await let_come(imported)

    with pytest.raises(DiedError):
        await SeatReleaseWorker(dying(imported.stores, line)).run_once()
    in_redis, in_postgres = await capacities(imported)
    await work(imported)

    assert in_redis <= in_postgres
    assert in_postgres == (3 if line == "release: before commit" else 5)
    assert await capacities(imported) == (5, 5)
    assert await state(imported) is DONE
    assert await imported.stores.seat_releases.unfinished(10) == []
    assert await is_clean(imported)


async def test_of_several_workers_at_once_one_carries_a_release_out(
    imported: Service, beside: Service
) -> None:
    await plan(imported)
    await let_come(imported)
    await beside.stores.clock.read()

    released = await asyncio.gather(*[work(each) for each in (imported, beside, imported)])

    assert sorted(released) == [0, 0, 2]
    assert await capacities(imported) == (5, 5)


async def test_the_worker_sleeps_until_the_next_release_and_half_a_second_at_most(
    imported: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, planned = SeatReleaseWorker(imported.stores), release()
    pauses_s = []
    await plan_release(imported.stores, "exam-1", planned, WHY)

    for before_ms in (HOUR_MS, 300, 3, 0):
        now = planned.at_ms - before_ms
        monkeypatch.setattr(imported.stores.clock, "earliest_ms", lambda now=now: now)
        await worker.run_once()
        pauses_s.append(worker.interval_s)

    assert pauses_s == [0.5, 0.3, 0.01, 0.5]
    assert await state(imported) is DONE


async def test_an_exam_whose_shard_cannot_be_reached_holds_up_no_other(imported: Service) -> None:
    await import_exam(imported.stores.maintenance, parse_exam({**DEFINITION, "id": "exam-2"}))
    for name in ("exam-1", "exam-2"):
        await plan_release(imported.stores, name, release(), WHY)
    await let_come(imported)
    await move(imported, "UPDATE shards SET state = 'fenced' WHERE exam = 'exam-1'")
    await move(imported, "UPDATE shards SET epoch = epoch + 1 WHERE exam = 'exam-1'")

    with pytest.raises(Exception, match="exam-1"):
        await work(imported)

    (left,) = await imported.stores.seat_releases.unfinished(10)
    assert (left.exam, left.is_done) == ("exam-1", True)


async def test_the_same_release_again_is_answered_as_it_is_and_another_is_refused(
    imported: Service,
) -> None:
    planned = release()

    first = await plan_release(imported.stores, "exam-1", planned, WHY)
    again = await plan_release(imported.stores, "exam-1", planned, WHY)
    with pytest.raises(ReleaseExists):
        await plan_release(imported.stores, "exam-1", release(general=3), WHY)
    await let_come(imported)
    await work(imported)

    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert first.release == again.release
    assert len(await list_releases(imported.stores, "exam-1")) == 1
    assert await rows(imported, "SELECT action, subject, reason FROM ops_actions") == [
        ("plan-release", "evening", WHY)
    ]


async def test_a_cancelled_release_does_not_come_and_one_that_has_come_is_not_cancelled(
    imported: Service,
) -> None:
    await plan(imported, "a")
    await plan(imported, "b")

    cancelled = await cancel_release(imported.stores, "exam-1", "a", "the hall is closed")
    again = await cancel_release(imported.stores, "exam-1", "a", "the hall is closed")
    for name in ("a", "b"):
        await let_come(imported, name)
    await work(imported)
    with pytest.raises(ReleaseDone):
        await cancel_release(imported.stores, "exam-1", "b", "too late")
    with pytest.raises(UnknownRelease):
        await cancel_release(imported.stores, "exam-1", "c", "there is none")

    assert cancelled == again
    assert (await state(imported, "a"), await state(imported, "b")) == (CANCELLED, DONE)
    assert await capacities(imported) == (5, 5)
    actions = await rows(imported, "SELECT action, subject, reason FROM ops_actions ORDER BY id")
    assert actions[2:] == [("cancel-release", "a", "the hall is closed")]


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [("plan release: before commit", False), ("plan release: after commit", True)],
)
async def test_a_plan_that_died_is_kept_or_not_and_can_be_made_again(
    imported: Service, beside: Service, line: str, is_kept: bool
) -> None:
    planned = release()

    with pytest.raises(DiedError):
        await plan_release(dying(imported.stores, line), "exam-1", planned, WHY)
    again = await plan_release(beside.stores, "exam-1", planned, WHY)
    stores = dying(imported.stores, line.replace("plan", "cancel"))
    with pytest.raises(DiedError):
        await cancel_release(stores, "exam-1", "evening", WHY)
    await cancel_release(beside.stores, "exam-1", "evening", WHY)

    assert again.is_repeat is is_kept
    assert await state(imported) is CANCELLED
    assert (await hold(beside)).venue == "jinan"


SENSELESS: list[tuple[SeatRelease, type[Exception]]] = [
    (SeatRelease("a", 0, Announce.TIME, {Quota("mars", "general"): 1}), UnknownVenue),
    (SeatRelease("a", 0, Announce.TIME, {Quota("jinan", "alchemy"): 1}), UnknownSubject),
    (SeatRelease("a", 0, Announce.TIME, {Quota("beijing", "qms"): 1}), UnknownQuota),
    (SeatRelease("a", 0, Announce.TIME, {GENERAL: 1}), ReleasePast),
    (release(in_ms=0), ReleasePast),
    (release(in_ms=25 * HOUR_MS), ReleaseTooLate),
    (release(general=1_000_000), TooManySeats),
]


async def test_a_release_that_makes_no_sense_is_refused_and_changes_nothing(
    imported: Service,
) -> None:
    revision = imported.stores.registry.revision("exam-1")

    for planned, refusal in SENSELESS:
        with pytest.raises(refusal):
            await plan_release(imported.stores, "exam-1", planned, WHY)

    await imported.stores.registry.refresh()
    assert await rows(imported, "SELECT count(*) FROM seat_releases") == [(0,)]
    assert await rows(imported, "SELECT count(*) FROM ops_actions") == [(0,)]
    assert imported.stores.registry.revision("exam-1") == revision


async def test_no_more_releases_are_planned_at_once_than_the_limit(
    imported: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_seats, "PLANNED_MAX", 1)
    await plan(imported, "a")

    with pytest.raises(TooManyReleases):
        await plan(imported, "b")
    await cancel_release(imported.stores, "exam-1", "a", WHY)
    await plan(imported, "b")


async def test_nothing_is_planned_once_registration_is_closed(imported: Service) -> None:
    closed = exam(registration={**DEFINITION["registration"], "closes_at": rfc3339(now_ms())})
    await import_exam(imported.stores.maintenance, closed)

    with pytest.raises(RegistrationClosed):
        await plan(imported)


async def test_the_releases_of_a_definition_are_planned_and_come(imported: Service) -> None:
    with_two = exam(member("a"), member("b"))

    await import_exam(imported.stores.maintenance, with_two)
    again = await import_exam(imported.stores.maintenance, with_two)
    await let_come(imported, "a")
    released = await work(imported)
    after = await import_exam(imported.stores.maintenance, with_two)

    assert (again.changes, after.changes, released) == ((), (), 2)
    assert (await state(imported, "a"), await state(imported, "b")) == (DONE, PLANNED)
    assert await capacities(imported) == (5, 5)
    assert imported.stores.registry.find("exam-1").seats[GENERAL] == 3


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_release_of_the_past_happens_at_the_import(imported: Service, is_new: bool) -> None:
    if is_new:
        exam_id = "exam-2"
        wanted = exam(member(in_ms=-1000), id=exam_id)
    else:
        exam_id, wanted = "exam-1", exam(member(in_ms=-1000))

    checked = await check_import(imported.stores.maintenance, wanted)
    done = await import_exam(imported.stores.maintenance, wanted)

    snapshot = await imported.stores.seats.snapshot(imported.stores.registry.shard(exam_id))
    assert (snapshot.capacity[GENERAL], snapshot.remaining[GENERAL]) == (5, 5)
    assert "releases.evening.at: is past: it happens at once" in map(str, checked.warnings)
    assert "releases.evening.at: is past: it happens at once" in map(str, done.warnings)
    assert await imported.stores.seat_releases.unfinished(10) == []


@pytest.mark.parametrize("line", ["import: before commit", "import: after commit"])
async def test_a_release_of_the_past_whose_import_died_is_finished_by_a_worker(
    imported: Service, line: str
) -> None:
    wanted = exam(member(in_ms=-1000))

    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores.maintenance, line), wanted)
    await work(imported)
    if line == "import: before commit":
        await import_exam(imported.stores.maintenance, wanted)

    assert await capacities(imported) == (5, 5)
    assert await imported.stores.seat_releases.unfinished(10) == []
    assert await is_clean(imported)


async def test_other_base_seats_keep_those_that_were_released(imported: Service) -> None:
    await plan(imported)
    await let_come(imported)
    await work(imported)
    for i in range(5):
        await hold(imported, f"candidate-{i}")
    jinan = SEATS["jinan"]
    more = exam(seats={**SEATS, "jinan": {**jinan, "general": 10}})
    fewer = exam(seats={**SEATS, "jinan": {**jinan, "general": 2}})

    await import_exam(imported.stores.maintenance, more)
    with_more = await capacities(imported)
    with pytest.raises(DefinitionRefused, match="cannot be 2, with 2 released since, while 5"):
        await import_exam(imported.stores.maintenance, fewer)
    await import_exam(imported.stores.maintenance, exam())

    assert with_more == (12, 12)
    assert await capacities(imported) == (5, 5)


async def test_a_quota_that_is_removed_and_comes_back_has_the_seats_of_its_definition(
    imported: Service,
) -> None:
    await plan(imported)
    await let_come(imported)
    await work(imported)
    jinan = {subject: n for subject, n in SEATS["jinan"].items() if subject != "general"}

    await import_exam(imported.stores.maintenance, exam(seats={**SEATS, "jinan": jinan}))
    removed = await capacities(imported)
    await import_exam(imported.stores.maintenance, exam())

    assert removed == (0, 0)
    assert await capacities(imported) == (3, 3)


async def test_a_definition_moves_and_cancels_what_is_planned(imported: Service) -> None:
    await import_exam(imported.stores.maintenance, exam(member("a"), member("b")))

    moved = await import_exam(imported.stores.maintenance, exam(member("a", general=7)))

    assert {change.where for change in moved.changes} == {
        "releases.a.at",
        "releases.a.seats.jinan.general",
        "releases.b",
    }
    assert (await state(imported, "a"), await state(imported, "b")) == (PLANNED, CANCELLED)
    stored = await find_release(imported.stores, "exam-1", "a")
    assert stored.release.seats == {GENERAL: 7}


async def test_an_id_names_one_release_for_good(imported: Service) -> None:
    done, left = member("done"), member("left")
    await import_exam(imported.stores.maintenance, exam(done, left))
    await plan(imported, "ops")
    await let_come(imported, "done")
    await work(imported)
    await import_exam(imported.stores.maintenance, exam(done))

    checked = await check_import(
        imported.stores.maintenance, exam(member("done", general=9), left, member("ops"))
    )

    assert list(map(str, checked.problems)) == [
        "releases.done: has happened and cannot change",
        "releases.left: was cancelled: give another id",
        "releases.ops: is the id of a seat release that ops planned: give another",
    ]


async def test_what_ops_cancelled_of_a_definition_stays_cancelled(imported: Service) -> None:
    with_one = exam(member())
    await import_exam(imported.stores.maintenance, with_one)
    await cancel_release(imported.stores, "exam-1", "evening", WHY)

    again = await import_exam(imported.stores.maintenance, with_one)
    titled = exam(*[member_of(with_one)], title={"en": "Exam 2"})
    await import_exam(imported.stores.maintenance, titled)

    assert again.changes == ()
    assert await state(imported) is CANCELLED


def member_of(defined: Exam) -> dict[str, Any]:
    (only,) = defined.releases
    return {**member(), "at": rfc3339(only.at_ms)}


async def test_a_definition_does_not_take_the_quota_or_the_time_of_a_release_of_ops(
    imported: Service,
) -> None:
    await plan(imported, service=1)
    without = {subject: n for subject, n in SEATS["jinan"].items() if subject != "service"}
    earlier = {**DEFINITION["registration"], "closes_at": rfc3339(now_ms() + HOUR_MS // 2)}

    checked = [
        await check_import(imported.stores.maintenance, each)
        for each in (exam(seats={**SEATS, "jinan": without}), exam(registration=earlier))
    ]

    wheres = [[problem.where for problem in each.problems] for each in checked]
    assert wheres == [["seats.jinan.service"], ["registration.closes_at"]]


async def test_what_is_announced_is_known_to_every_process(
    imported: Service, beside: Service
) -> None:
    await plan(imported, "b", 2 * HOUR_MS)
    await plan(imported, "a")
    hidden = SeatRelease("c", now_ms() + HOUR_MS, Announce.NOTHING, {GENERAL: 1})
    await plan_release(imported.stores, "exam-1", hidden, WHY)

    await beside.stores.registry.refresh()
    shown = beside.stores.registry.find("exam-1").announced
    await let_come(imported, "a")
    await work(imported)
    await beside.stores.registry.refresh()

    assert [each.id for each in shown] == ["a", "b"]
    assert shown[0].seats == {GENERAL: 2}
    assert [each.id for each in beside.stores.registry.find("exam-1").announced] == ["b"]


async def test_a_process_that_knows_an_older_revision_reserves_what_was_released(
    imported: Service, beside: Service
) -> None:
    for i in range(3):
        await hold(beside, f"candidate-{i}")
    await plan(imported)
    await let_come(imported)
    await work(imported)

    order = Order("candidate-3", ("general",), ("jinan",), accepted_notice=True)
    held = await reserve(beside.stores.reservations, "exam-1", order, "key-1")

    assert held.reservation.venue == "jinan"


async def test_released_seats_are_there_after_a_rebuild(imported: Service) -> None:
    await plan(imported)
    await let_come(imported)
    await work(imported)
    await drain(imported)

    await lose_everything(imported)
    await recover_shards(imported)

    assert await capacities(imported) == (5, 5)
    assert await is_clean(imported)


async def test_a_dealing_is_due_where_seats_are_dealt_out(imported: Service) -> None:
    asked = "SELECT exam, is_due FROM waiting_lists"
    await plan(imported, "a")
    await let_come(imported, "a")
    await work(imported)
    at_once = await rows(imported, asked)
    await import_exam(
        imported.stores.maintenance,
        exam(returned={"rule": "at-times", "times": ["03:00"]}, waiting_list={}),
    )
    await plan(imported, "b")
    before = await rows(imported, asked)
    await let_come(imported, "b")
    await work(imported)

    assert at_once == []
    assert [is_due for _, is_due in before] in ([], [False])
    assert await rows(imported, asked) == [("exam-1", True)]


@pytest.mark.parametrize(
    "returned", [{"rule": "list-first"}, {"rule": "at-times", "times": ["03:00"]}]
)
async def test_released_seats_go_to_who_waits_and_the_rest_on_open_sale(
    imported: Service, returned: dict[str, Any]
) -> None:
    stores = imported.stores
    listed = exam(returned=returned, waiting_list={})
    await import_exam(stores.maintenance, listed)
    for i in range(3):
        await hold(imported, f"candidate-{i}")
    wish = Wish("candidate-3", ("general",), ("jinan",))
    await join_list(stores.waiting_list, "exam-1", wish, "key-1")
    await plan(imported)

    await let_come(imported)
    await work(imported)
    dealt = await DealingWorker(stores.dealing, imported.settings).run_once()

    assert (dealt["offers"], dealt["opened"]) == (1, 1)
    assert (await hold(imported, "candidate-4")).venue == "jinan"
    with pytest.raises(SoldOut):
        await hold(imported, "candidate-5")
    assert await is_clean(imported)


async def test_releases_are_planned_listed_and_cancelled_on_the_command_line(
    imported: Service, command_line: CommandLine
) -> None:
    at = rfc3339(now_ms() + HOUR_MS)
    asked = ("--at", at, "--announce", "time", "--seats", "jinan/general=2", "jinan/qms=1")

    planned = await command_line("release", "plan", "exam-1", "evening", *asked, "--reason", WHY)
    again = await command_line("release", "plan", "exam-1", "evening", *asked, "--reason", WHY)
    cancelled = await command_line("release", "cancel", "exam-1", "evening", "--reason", "closed")
    listed = await command_line("release", "list", "exam-1")
    unknown = await command_line("release", "cancel", "exam-1", "noon", "--reason", "closed")

    seats = "jinan/general=2 jinan/qms=1"
    assert planned.printed == f"evening\t{at}\ttime\tops\tplanned\t{seats}\n"
    assert again.printed == planned.printed
    assert cancelled.printed == listed.printed == planned.printed.replace("planned", "cancelled")
    assert (unknown.status, "no seat release 'noon'" in unknown.complaints) == (1, True)
    assert await state(imported) is CANCELLED
