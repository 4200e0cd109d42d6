"""Administer a waiting list: pause its dealing, suspend joining, cap its length, look at it.

    1. write the wish of ops in Postgres, with who and why                        <- the decision

The next dealing and the next join read it; nothing else is needed, so each works when Redis is
unavailable. Doing it again changes nothing, and is noted all the same.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.errors import WaitingListOff
from quota_service.domain.exam import WaitingListRules
from quota_service.ledger.waiting_list import ListCounts, ListStatus
from quota_service.observability.caller import caller
from quota_service.registration.stores import WaitingListStores
from quota_service.waiting_list.entry import Entry, EntryState

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class AdministeredList:
    """A waiting list as ops see it; `rules` are those of the definition."""

    status: ListStatus
    rules: WaitingListRules
    counts: ListCounts

    @property
    def length_max(self) -> int:
        """How many entries may wait for one quota."""
        return self.status.length_max or self.rules.length_max


async def show(stores: WaitingListStores, exam_id: str) -> AdministeredList:
    """Return a waiting list as it is. Raises UnknownExam and WaitingListOff."""
    rules = _rules(stores, exam_id)
    status = await stores.list_ledger.status(exam_id)
    if status is None:
        raise WaitingListOff
    return AdministeredList(status, rules, await stores.list_ledger.counts(exam_id))


async def page(  # noqa: PLR0917  a page has as many sides
    stores: WaitingListStores,
    exam_id: str,
    after: int,
    limit: int,
    states: Sequence[EntryState] | None,
    candidate: str | None,
) -> list[Entry]:
    """Return a page of entries by number, as Postgres has them. Raises as `show`."""
    _rules(stores, exam_id)
    return await stores.list_ledger.page(exam_id, after, limit, states=states, candidate=candidate)


async def pause(stores: WaitingListStores, exam_id: str, reason: str) -> AdministeredList:
    """Offer no seat to anybody until `resume`; seats that come back wait. Raises as `show`."""
    return await _set(stores, exam_id, "pause-list", reason, is_paused=True)


async def resume(stores: WaitingListStores, exam_id: str, reason: str) -> AdministeredList:
    """Let the dealing go on. Raises as `show`."""
    return await _set(stores, exam_id, "resume-list", reason, is_paused=False)


async def suspend(stores: WaitingListStores, exam_id: str, reason: str) -> AdministeredList:
    """Let nobody join until `reopen`; those who wait are served. Raises as `show`."""
    return await _set(stores, exam_id, "suspend-list", reason, is_suspended=True)


async def reopen(stores: WaitingListStores, exam_id: str, reason: str) -> AdministeredList:
    """Let candidates join again. Raises as `show`."""
    return await _set(stores, exam_id, "reopen-list", reason, is_suspended=False)


async def _set(
    stores: WaitingListStores,
    exam_id: str,
    action: str,
    reason: str,
    *,
    is_paused: bool | None = None,
    is_suspended: bool | None = None,
) -> AdministeredList:
    ledger = stores.list_ledger
    async with _noted(stores, exam_id, action, reason, {}) as connection:
        await ledger.set(connection, exam_id, is_paused=is_paused, is_suspended=is_suspended)
    return await show(stores, exam_id)


async def set_length(
    stores: WaitingListStores, exam_id: str, length_max: int | None, reason: str
) -> AdministeredList:
    """Let so many entries wait for one quota, None: as many as the definition says.

    Those who wait already stay. Raises as `show`.
    """
    detail = {"length_max": length_max}
    async with _noted(stores, exam_id, "cap-list", reason, detail) as connection:
        await stores.list_ledger.set_length(connection, exam_id, length_max)
    return await show(stores, exam_id)


@asynccontextmanager
async def _noted(
    stores: WaitingListStores, exam_id: str, action: str, reason: str, detail: Mapping[str, object]
) -> "AsyncIterator[Connection]":
    """Lend a transaction in which the act is noted."""
    _rules(stores, exam_id)
    async with stores.ledger.transaction() as connection:
        noted = stores.ops_actions
        await noted.note(connection, exam_id, caller(), action, exam_id, reason, detail)
        yield connection


def _rules(stores: WaitingListStores, exam_id: str) -> WaitingListRules:
    rules = stores.registry.find(exam_id).waiting_list
    if rules is None:
        raise WaitingListOff
    return rules
