"""Dealing while other things change: the definition, the leader, the shard, another exam."""

from dataclasses import replace
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import CandidatesWaiting
from quota_service.domain.exam import Exam
from quota_service.registration.import_exam import import_exam
from tests.support.dealings import ListUnderTest, open_list
from tests.support.lost_shards import drain, lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.waiting import eventually

GENERAL = "jinan/general"


@pytest.fixture
async def waiting(service: Service) -> ListUnderTest:
    """A list whose returned seats are dealt as they come."""
    return await open_list(service)


async def put_all_on_sale(waiting: ListUnderTest) -> None:
    """Let all seats that were set aside by the test be on open sale."""
    for quota, seats in (await waiting.hash_of("aside")).items():
        await waiting.put_on_sale(quota, int(seats))
    await redis_of(waiting.service).delete(
        *map(waiting.shard.key, ("aside", "aside_left", "aside_seats"))
    )


async def change(waiting: ListUnderTest, **changes: Any) -> None:
    """Import the exam with members changed."""
    stores = waiting.service.stores
    await import_exam(stores.maintenance, replace(waiting.exam, **changes), force=True)
    waiting.exam = stores.registry.find(waiting.exam.id)


def moved(exam: Exam, subject: str, session: str) -> Any:
    """Return the subjects of an exam, one of them in another session."""
    return tuple(
        replace(each, session=session) if each.id == subject else each for each in exam.subjects
    )


async def test_what_the_exam_cannot_serve_any_more_is_over(waiting: ListUnderTest) -> None:
    await waiting.join("both", ("general", "qms"))
    await waiting.join("one", ("ems",))
    await put_all_on_sale(waiting)

    await change(waiting, subjects=moved(waiting.exam, "qms", "day1-am"))
    await waiting.visit()

    assert await waiting.states() == {"both": "over", "one": "offered"}
    assert await waiting.hash_of("wanted") == {}


async def test_a_list_that_the_exam_has_no_more_is_over_and_keeps_no_seat(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("first", ("general", "qms"))

    with pytest.raises(CandidatesWaiting, match="no waiting list, and 1 candidates wait"):
        await import_exam(
            waiting.service.stores.maintenance, replace(waiting.exam, waiting_list=None)
        )
    await change(waiting, waiting_list=None)
    await waiting.return_seats(GENERAL)
    await waiting.visit()

    assert await waiting.states() == {"first": "over"}
    assert await waiting.on_sale() == {GENERAL: 1}


async def test_seats_that_a_recovery_has_put_on_sale_are_dealt(waiting: ListUnderTest) -> None:
    await waiting.join("first")
    await waiting.visit()
    await drain(waiting.service)
    await lose_everything(waiting.service)  # and with it all seats that the test has set aside

    assert await recover_shards(waiting.service) == 1
    await waiting.visit()

    assert await waiting.states() == {"first": "offered"}


async def test_a_leader_that_postgres_has_forgotten_does_not_keep_others_from_dealing(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    await redis_of(waiting.service).hset(waiting.shard.key("offers"), "leader", 9)

    overtaken = await waiting.visit()
    dealt = await waiting.visit()

    assert (overtaken.offers, dealt.offers) == (0, 1)
    assert await waiting.rows("SELECT leader_epoch FROM waiting_lists WHERE exam = $1") == [(10,)]


async def test_an_entry_of_a_dead_process_is_removed_while_other_exams_are_compared_too(
    waiting: ListUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.registration.level_list._PHANTOM_AGE_S", 0.1)
    stores = waiting.service.stores
    await import_exam(stores.maintenance, replace(waiting.exam, id="exam-2"))
    other, its_shard = stores.registry.find("exam-2"), stores.registry.shard("exam-2")
    leader = waiting.another_leader(level_interval_s=0)
    key = waiting.shard.key("list")
    await redis_of(waiting.service).hset(key, "joining", "|candidate-9|general|day1-am|jinan")

    async def is_removed() -> bool:
        await leader.visit(waiting.exam, waiting.shard)
        await leader.visit(other, its_shard)
        return await waiting.hash_of("list") == {}

    await eventually(is_removed)


async def test_of_seats_that_a_lower_capacity_has_taken_the_rest_is_dealt(
    waiting: ListUnderTest,
) -> None:
    for candidate in ("first", "second", "third"):
        await waiting.join(candidate)
    await waiting.return_seats(GENERAL, 3)
    leader, plans = waiting.another_leader(), 0
    stores = waiting.service.stores.dealing
    clock_ms = stores.seats.clock_ms

    async def lowered(*args: Any) -> int:
        nonlocal plans
        if not plans:
            await waiting.return_seats(GENERAL, -1)
        plans += 1  # a batch of offers
        return await clock_ms(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stores.seats), "clock_ms", lambda _, *args: lowered(*args))
        dealt = await waiting.visit(leader)

    assert (dealt.offers, plans) == (2, 1)
