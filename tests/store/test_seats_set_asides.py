"""Set-asides in Redis: seats kept for groups, taken from those on sale and given back again."""

import dataclasses

import pytest

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Exam, Quota, ReturnedSeats, ReturnRule
from quota_service.seats.ceilings import CeilingStore
from quota_service.seats.codes import Code
from quota_service.seats.set_asides import KeptSeats, SetAsideStore
from tests.support.seats import SeatsUnderTest

GENERAL = Quota("jinan", "general")
"""Three seats."""
QMS = Quota("jinan", "qms")
"""Two seats."""
NEW = Quota("xian", "general")


@pytest.fixture
def kept(seats: SeatsUnderTest) -> SetAsideStore:
    """The set-asides of the server of the test."""
    return SetAsideStore(seats.runner)


async def pools(seats: SeatsUnderTest, quota: Quota) -> dict[str, int]:
    """Return the free seats of a quota, by pool."""
    snapshot = await seats.snapshot()
    names = ("remaining", "returned", "aside")
    return {name: getattr(snapshot, name).get(quota, 0) for name in names}


async def hold(
    seats: SeatsUnderTest, set_aside: str, candidate: str = "c-1", subject: str = "general"
) -> tuple[Code, str]:
    """Reserve seats of a set-aside, `id:code:uses`; return how it ended, and the serial."""
    request = seats.request(candidate, (subject,))
    request.set_aside = set_aside
    answer = await seats.store.reserve(seats.shard, seats.exam, request)
    return answer.code, request.serial


async def with_rule(seats: SeatsUnderTest, rule: ReturnRule, **changes: object) -> Exam:
    """Put the exam in force by another rule for seats that come back."""
    exam = dataclasses.replace(seats.exam, returned=ReturnedSeats(rule), revision=1, **changes)
    await seats.store.define(seats.shard, exam, before="0")
    return exam


async def test_seats_of_a_set_aside_are_not_on_sale_and_are_reserved_with_its_name(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    answer = await kept.set(seats.shard, {GENERAL: {"staff": 1, "press": 2}}, {}, exact=True)

    assert (answer.code, answer.detail) == (Code.DONE, (1,))
    assert await pools(seats, GENERAL) == {"remaining": 0, "returned": 0, "aside": 3}
    assert (await seats.reserve("c-0")).code is Code.SOLD_OUT
    assert (await hold(seats, "staff:k1:1"))[0] is Code.DONE
    assert (await hold(seats, "staff:k2:1", "c-2"))[0] is Code.SOLD_OUT
    assert (await hold(seats, "press::", "c-3"))[0] is Code.DONE
    assert await kept.read(seats.shard) == {
        "staff": {GENERAL: KeptSeats(1, 0)},
        "press": {GENERAL: KeptSeats(2, 1)},
    }
    assert await kept.uses(seats.shard, ["k1", "k2"]) == {"k1": 1, "k2": 0}


async def test_no_seats_are_set_aside_that_are_not_free_and_none_taken_away_that_are_used(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    await kept.set(seats.shard, {GENERAL: {"staff": 2}}, {}, exact=True)
    await hold(seats, "staff::")
    await hold(seats, "staff::", "c-2")
    version = (await seats.snapshot()).version

    more = await kept.set(seats.shard, {QMS: {"staff": 3}}, {}, exact=True)
    less = await kept.set(seats.shard, {GENERAL: {"staff": 1}}, {}, exact=True)

    assert (more.code, more.detail) == (Code.SOLD_OUT, ("jinan/qms", 2))
    assert (less.code, less.detail) == (Code.BELOW_TAKEN, ("staff/jinan/general", 2))
    assert (await seats.snapshot()).version == version


async def test_what_cannot_be_set_aside_now_is_as_soon_as_seats_come_back(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    serial = await seats.hold("c-1", ("qms",))
    wanted = {QMS: {"staff": 2}}

    first = await kept.set(seats.shard, wanted, {}, exact=False)
    assert first.detail == (1,)
    assert (await kept.read(seats.shard))["staff"] == {QMS: KeptSeats(1, 1)}
    await seats.store.release(seats.shard, serial)
    second = await kept.set(seats.shard, wanted, {}, exact=False)
    third = await kept.set(seats.shard, wanted, {}, exact=False)

    assert (second.detail, third.detail) == ((1,), (0,))
    assert await pools(seats, QMS) == {"remaining": 0, "returned": 0, "aside": 2}


async def test_new_seats_that_are_for_a_group_are_never_on_sale(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    await seats.hold("c-1", ("qms",))
    await seats.hold("c-2", ("qms",))

    wanted = {QMS: {"staff": 3}, NEW: {"staff": 1}}
    await kept.set(seats.shard, wanted, {QMS: 6, NEW: 4}, exact=True)

    assert await pools(seats, QMS) == {"remaining": 1, "returned": 0, "aside": 3}
    assert await pools(seats, NEW) == {"remaining": 3, "returned": 0, "aside": 1}


async def test_what_a_set_aside_loses_goes_by_the_rule_for_seats_that_come_back(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    await kept.set(seats.shard, {GENERAL: {"staff": 3}}, {}, exact=True)
    await with_rule(seats, ReturnRule.AT_TIMES)

    await kept.set(seats.shard, {GENERAL: {"staff": 1}}, {}, exact=True)
    smaller = await pools(seats, GENERAL)
    closed = await kept.close(seats.shard, "staff", [GENERAL, QMS])

    assert smaller == {"remaining": 0, "returned": 2, "aside": 1}
    assert closed == 1
    assert await pools(seats, GENERAL) == {"remaining": 0, "returned": 3, "aside": 0}
    assert await kept.read(seats.shard) == {}


async def test_a_set_aside_that_is_closed_gives_its_seats_back_once_and_for_good(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    await kept.set(seats.shard, {GENERAL: {"staff": 2}}, {}, exact=True)
    _, serial = await hold(seats, "staff:k1:1")

    closed = [await kept.close(seats.shard, "staff", [GENERAL]) for _ in range(2)]
    after = await hold(seats, "staff:k1:2", "c-2")
    await seats.store.release(seats.shard, serial)

    assert closed == [1, 0]
    assert after[0] is Code.SET_ASIDE_OVER
    assert await pools(seats, GENERAL) == {"remaining": 3, "returned": 0, "aside": 0}
    assert await kept.uses(seats.shard, ["k1"]) == {"k1": 0}


async def test_seats_that_are_set_aside_have_their_place_under_a_ceiling(
    seats: SeatsUnderTest, kept: SetAsideStore
) -> None:
    limits = {("jinan", "day1-pm"): 2}
    exam = await with_rule(seats, ReturnRule.AT_ONCE, ceilings=limits)
    ceilings = CeilingStore(seats.runner)
    await ceilings.set(seats.shard, exam.rooms)
    ems = Quota("jinan", "ems")

    async def left() -> int:
        return (await ceilings.left(seats.shard, ["jinan/day1-pm"]))["jinan/day1-pm"]

    await kept.set(seats.shard, {QMS: {"staff": 1}}, {}, exact=True)
    assert await left() == 1
    refused = await kept.set(seats.shard, {ems: {"staff": 2}}, {}, exact=True)
    assert (refused.code, refused.detail) == (Code.SOLD_OUT, ("jinan/ems", 1))
    await kept.set(seats.shard, {ems: {"staff": 1}}, {}, exact=True)
    assert await left() == 0
    await kept.close(seats.shard, "staff", [QMS, ems])
    assert await left() == 2


async def test_a_fenced_shard_is_not_ready(seats: SeatsUnderTest, kept: SetAsideStore) -> None:
    later = dataclasses.replace(seats.shard, epoch=2)

    with pytest.raises(NotReady):
        await kept.set(later, {QMS: {"staff": 1}}, {}, exact=True)
    with pytest.raises(NotReady):
        await kept.close(later, "staff", [QMS])
