"""Joining a list while other things happen: a dealing, an import, a Postgres that is away."""

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import LedgerUnavailable, WaitingListOff
from quota_service.domain.exam import ReturnedSeats, ReturnRule, WaitingListRules
from quota_service.ledger.waiting_list import JoinEnd, Joining, NewEntry
from quota_service.registration.import_exam import import_exam
from quota_service.registration.join_list import Joined, Wish, join_list
from quota_service.registration.stores import WaitingListStores
from quota_service.seats.lists import Listed
from quota_service.waiting_list.entry import EntryState
from tests.support.exams import make_exam

Join = Callable[[NewEntry], Awaitable[Joining]]
WISH = Wish("candidate-1", ("ems",), ("tianjin",))


@pytest.fixture
async def stores(service: Service) -> WaitingListStores:
    exam = dataclasses.replace(
        make_exam(),
        returned=ReturnedSeats(ReturnRule.LIST_FIRST),
        waiting_list=WaitingListRules(offer_ttl_s=600),
    )
    await import_exam(service.stores.maintenance, exam)
    return service.stores.waiting_list


async def listed(stores: WaitingListStores) -> list[Listed]:
    return [each async for each in stores.lists.listed(stores.registry.shard("exam-1"))]


def around(stores: WaitingListStores, act: Callable[[Join, NewEntry], Awaitable[Joining]]) -> None:
    """Let something happen at the commit of a join."""
    commit = stores.list_ledger.join

    async def join(new: NewEntry) -> Joining:
        return await act(commit, new)

    stores.list_ledger.join = join  # type: ignore[method-assign]


async def test_an_entry_that_a_dealing_took_for_a_dead_one_waits_all_the_same(
    stores: WaitingListStores,
) -> None:
    async def removed_after_the_commit(commit: Join, new: NewEntry) -> Joining:
        joining = await commit(new)
        removed = await stores.lists.delist(stores.registry.shard("exam-1"), [(new.serial, None)])
        assert removed == 1
        return joining

    around(stores, removed_after_the_commit)

    joined = await join_list(stores, "exam-1", WISH, "key-1")

    assert await listed(stores) == [Listed(joined.entry.serial, 1)]


async def test_who_joins_while_the_list_is_removed_does_not_wait(
    service: Service, stores: WaitingListStores
) -> None:
    exam = stores.registry.find("exam-1")

    async def import_before_the_commit(commit: Join, new: NewEntry) -> Joining:
        await import_exam(
            service.stores.maintenance, dataclasses.replace(exam, waiting_list=None), force=True
        )
        joining = await commit(new)
        assert joining.end is JoinEnd.STALE
        return joining

    around(stores, import_before_the_commit)

    with pytest.raises(WaitingListOff):
        await join_list(stores, "exam-1", WISH, "key-1")

    assert await listed(stores) == []
    assert await stores.list_ledger.page("exam-1", 0, 10) == []


@pytest.mark.parametrize("applied", [False, None])
async def test_a_repeat_after_a_postgres_that_was_away_joins_once(
    stores: WaitingListStores, *, applied: bool | None
) -> None:
    commit = stores.list_ledger.join

    async def lost(_: Join, new: NewEntry) -> Joining:
        if applied is None:
            await commit(new)
        raise LedgerUnavailable("away", applied=applied)

    around(stores, lost)
    with pytest.raises(LedgerUnavailable):
        await join_list(stores, "exam-1", WISH, "key-1")
    behind = await listed(stores)
    stores.list_ledger.join = commit  # type: ignore[method-assign]

    again: Joined = await join_list(stores, "exam-1", WISH, "key-1")

    assert (behind == []) == (applied is False)
    assert again.replayed == (applied is None)
    assert await listed(stores) == [Listed(again.entry.serial, 1)]
    (entry,) = await stores.list_ledger.page("exam-1", 0, 10)
    assert (entry.number, entry.state) == (1, EntryState.WAITING)


async def test_a_repeat_of_one_who_left_does_not_wait_again(stores: WaitingListStores) -> None:
    first = await join_list(stores, "exam-1", WISH, "key-1")
    await stores.list_ledger.end(first.entry, EntryState.LEFT)
    await stores.lists.delist(stores.registry.shard("exam-1"), [(first.entry.serial, 1)])

    again = await join_list(stores, "exam-1", WISH, "key-1")

    assert (again.entry, again.replayed) == (first.entry, True)
    sample = stores.metrics.registry.get_sample_value
    for outcome in ("joined", "replayed"):
        labels = {"exam": "exam-1", "outcome": outcome}
        assert sample("quota_waiting_list_joins_total", labels) == 1
    assert await listed(stores) == []
