"""Ceilings in Redis: set as a whole or not at all, by the seats taken under them."""

import dataclasses

import pytest

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Ceiling, ReturnedSeats, ReturnRule
from quota_service.seats.ceilings import CeilingStore, UnderCeiling
from quota_service.seats.codes import Code
from tests.support.books import read_journal
from tests.support.seats import SeatsUnderTest

DAY1_PM = Ceiling("jinan", "day1-pm", 3, ("ems", "qms"))
"""Over two subjects with two seats each."""
DAY1_AM = Ceiling("jinan", "day1-am", 2, ("general",))


@pytest.fixture
def ceilings(seats: SeatsUnderTest) -> CeilingStore:
    """The ceilings of the server of the test."""
    return CeilingStore(seats.runner)


async def test_what_is_left_are_the_seats_without_those_that_are_taken(
    seats: SeatsUnderTest, ceilings: CeilingStore
) -> None:
    await seats.hold("c-1", ("qms",))
    await seats.confirmed("c-2", ("ems",))

    answer = await ceilings.set(seats.shard, [DAY1_PM, DAY1_AM])

    assert (answer.code, answer.detail) == (Code.DONE, (2,))
    assert await ceilings.read(seats.shard, [DAY1_PM, DAY1_AM]) == {
        DAY1_PM: UnderCeiling(left=1, taken=2),
        DAY1_AM: UnderCeiling(left=2, taken=0),
    }
    assert await ceilings.left(seats.shard, ["jinan/day1-pm", "xian/day1-pm"]) == {
        "jinan/day1-pm": 1
    }


async def test_a_ceiling_below_what_is_taken_is_refused_and_changes_nothing(
    seats: SeatsUnderTest, ceilings: CeilingStore
) -> None:
    await ceilings.set(seats.shard, [DAY1_PM])
    await seats.hold("c-1", ("qms",))
    await seats.hold("c-2", ("ems",))
    before = await seats.client.hgetall(seats.shard.key("ceiling_left"))
    version = (await seats.snapshot()).version

    low = dataclasses.replace(DAY1_PM, seats=1)
    answer = await ceilings.set(seats.shard, [DAY1_AM, low])

    assert (answer.code, answer.detail) == (Code.BELOW_TAKEN, ("jinan/day1-pm", 2))
    assert await seats.client.hgetall(seats.shard.key("ceiling_left")) == before
    assert (await seats.snapshot()).version == version


async def test_the_same_ceilings_again_change_nothing_and_each_change_is_a_step(
    seats: SeatsUnderTest, ceilings: CeilingStore
) -> None:
    await ceilings.set(seats.shard, [DAY1_PM, DAY1_AM])
    version = (await seats.snapshot()).version

    again = await ceilings.set(seats.shard, [DAY1_PM, DAY1_AM])
    raised = await ceilings.set(seats.shard, [dataclasses.replace(DAY1_PM, seats=4), DAY1_AM])
    await ceilings.remove(seats.shard, ["jinan/day1-am"])

    assert (again.detail, raised.detail) == ((0,), (1,))
    assert await ceilings.names(seats.shard) == ["jinan/day1-pm"]
    told = [
        (fields["subject"], fields["body"])
        for _, fields in await read_journal(seats.client, seats.shard)
        if fields["verb"] == "ceilings"
    ]
    assert told[2:] == [("jinan/day1-pm", "4"), ("jinan/day1-am", "")]
    assert (await seats.snapshot()).version == version + 2


async def test_ceilings_go_in_pages_and_are_read_so(
    seats: SeatsUnderTest, ceilings: CeilingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.seats.ceilings.UNDER_CEILINGS_MAX", 2)
    monkeypatch.setattr("quota_service.seats.ceilings.CEILINGS_MAX", 1)

    answer = await ceilings.set(seats.shard, [DAY1_PM, DAY1_AM])

    assert answer.detail == (2,)
    assert set(await ceilings.read(seats.shard, [DAY1_PM, DAY1_AM])) == {DAY1_PM, DAY1_AM}
    assert await ceilings.left(seats.shard, [str(DAY1_PM), str(DAY1_AM)]) == {
        str(DAY1_PM): 3,
        str(DAY1_AM): 2,
    }
    assert await ceilings.names(seats.shard) == [str(DAY1_AM), str(DAY1_PM)]


async def test_a_fenced_shard_is_not_ready(seats: SeatsUnderTest, ceilings: CeilingStore) -> None:
    later = dataclasses.replace(seats.shard, epoch=2)

    for step in (
        ceilings.set(later, [DAY1_PM]),
        ceilings.read(later, [DAY1_PM]),
        ceilings.left(later, ["jinan/day1-pm"]),
        ceilings.remove(later, ["jinan/day1-pm"]),
    ):
        with pytest.raises(NotReady):
            await step


@pytest.mark.parametrize(
    ("rule", "wanted", "waits"),
    [
        (ReturnRule.AT_ONCE, "jinan/qms", 0),
        (ReturnRule.LIST_FIRST, "jinan/qms", 1),
        (ReturnRule.LIST_FIRST, "jinan//day1-pm", 1),
        (ReturnRule.LIST_FIRST, "tianjin/qms", 0),
        (ReturnRule.AT_TIMES, "tianjin/qms", 1),
    ],
)
async def test_seats_that_a_higher_ceiling_frees_go_by_the_rule_for_seats_that_come_back(
    seats: SeatsUnderTest, ceilings: CeilingStore, rule: ReturnRule, wanted: str, waits: int
) -> None:
    exam = dataclasses.replace(
        seats.exam, returned=ReturnedSeats(rule), ceilings={("jinan", "day1-pm"): 1}, revision=2
    )
    await seats.store.define(seats.shard, exam, before="0")
    await ceilings.set(seats.shard, [dataclasses.replace(DAY1_PM, seats=1)])
    await dataclasses.replace(seats, exam=exam).hold("c-1", ("qms",))
    await seats.client.hset(seats.shard.key("wanted"), wanted, 1)

    await ceilings.set(seats.shard, [dataclasses.replace(DAY1_PM, seats=2)])

    found = await seats.snapshot()
    assert sum(found.returned.values()) == waits
    assert await ceilings.left(seats.shard, ["jinan/day1-pm"]) == {"jinan/day1-pm": 1 - waits}
    assert (await read_journal(seats.client, seats.shard))[-1][1].get("returned", "") == (
        "" if not waits else next(f"{q}=1" for q, n in found.returned.items() if n)
    )
    await seats.check_books()
