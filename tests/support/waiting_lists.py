"""Entries of waiting lists as tests make them, without Redis."""

import itertools
from typing import Any

from quota_service.domain.reservation import derive_serial
from quota_service.ledger.waiting_list import NewEntry, WaitingListLedger
from quota_service.observability.caller import Caller
from quota_service.waiting_list.entry import Entry, EntryState
from tests.support.ledgers import LedgerUnderTest

_NUMBERS = itertools.count(1)


async def open_list(books: LedgerUnderTest) -> WaitingListLedger:
    """Return the waiting lists of a ledger, in which the exam has one; its shard is open."""
    lists = WaitingListLedger(books.ledger, books.settings, books.metrics)
    async with books.ledger.transaction() as connection:
        await lists.ensure(connection, books.exam.id)
        await books.exams.mark_open(connection, books.exam.id)
    return lists


def new_entry(books: LedgerUnderTest, candidate: str = "c-1", **changes: Any) -> NewEntry:
    """Return an entry for one subject at one venue that can be joined, with a serial of its own."""
    key = f"list-{next(_NUMBERS)}"
    fields: dict[str, Any] = {
        "exam": books.exam.id,
        "serial": derive_serial(None, books.exam.id, candidate, key),
        "candidate": candidate,
        "subjects": ("general",),
        "sessions": ("day1-am",),
        "venues": ("jinan", "tianjin"),
        "until_ms": None,
        "quiet_hours": None,
        "request_hash": "hash",
        "shard": (books.exam.id, 1),
        "revision": 1,
        "longest": 1,
        "length_max": 100,
        "by": Caller("key-1", "request-1"),
    }
    return NewEntry(**{**fields, **changes})


def waiting_entry(
    number: int,
    subjects: tuple[str, ...] = ("general",),
    sessions: tuple[str, ...] = ("day1-am",),
    venues: tuple[str, ...] = ("jinan",),
    **changes: Any,
) -> Entry:
    """Return an entry that waits as Postgres would have it, named by its number."""
    fields: dict[str, Any] = {
        "exam": "exam-1",
        "serial": f"entry-{number}",
        "candidate": f"candidate-{number}",
        "number": number,
        "subjects": subjects,
        "sessions": sessions,
        "venues": venues,
        "until_ms": None,
        "quiet_hours": None,
        "window": 1,
        "rank": None,
        "state": EntryState.WAITING,
        "offers": 0,
        "reservation": None,
        "deadline_ms": 0,
        "joined_ms": 0,
        "ended_ms": None,
        "request_hash": "hash",
    }
    return Entry(**{**fields, **changes})
