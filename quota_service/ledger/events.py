"""Events: written by triggers with the facts they tell of, numbered later, and read by number.

A trigger cannot number an event as it is committed: of two transactions the one with the higher
number may commit first, and a reader who goes by the highest number it has seen would miss the
other. So numbers are given afterwards, by one process at a time, to what is committed by then
(`order_events.sql`). An event is told by its number from then on, and never changes.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from quota_service.domain.definition import rfc3339
from quota_service.domain.event import EventKind
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is told.

    `body` is its JSON, the same bytes whoever tells it. `exam` is None where a payment named none
    we know, `candidate` where the reservation that a payment named is not known.
    """

    sequence: int
    kind: EventKind
    exam: str | None
    reservation: str | None
    candidate: str | None
    at_ms: int
    body: bytes

    @property
    def id(self) -> str:
        """The id under which receivers know it."""
        return event_id(self.sequence)


@dataclass(frozen=True, slots=True)
class EventWork:
    """How long the first event has waited for a number, None where none waits.

    `to_place` where some have no place yet behind a step of their exam.
    """

    oldest_s: float | None
    to_place: bool


@dataclass(frozen=True, slots=True)
class EventSpan:
    """The numbers of the first and the last event that are kept; 0 and 0 where there is none."""

    first: int
    last: int


class EventLedger:
    """Numbers, reads and removes events; raises LedgerUnavailable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def work(self) -> EventWork:
        """Return what is to be done."""
        rows = await self._ledger.fetch("select_event_work")
        return EventWork(rows[0]["oldest_s"], rows[0]["to_place"])

    async def to_place(self, limit: int) -> dict[int, str]:
        """Return the exams of at most `limit` events whose step is not known, by event."""
        rows = await self._ledger.fetch("select_events_to_place", limit)
        return {row["id"]: row["exam"] for row in rows}

    async def place(self, versions: Mapping[int, int]) -> None:
        """Let events wait until the journal was drained up to a version, by event."""
        await self._ledger.fetch("place_events", list(versions), list(versions.values()))

    async def order(self, limit: int) -> int | None:
        """Give numbers to at most `limit` events; return how many, None while another does it.

        The same transaction makes their deliveries to webhook endpoints.
        """
        async with self._ledger.transaction() as connection:
            # A statement of its own: what the next one sees includes all that was numbered before.
            if not await connection.fetchval(self._query["try_lock_events"]):
                return None
            numbered: int = await connection.fetchval(self._query["order_events"], limit)
            if numbered:
                await connection.execute(self._query["insert_webhook_deliveries"], numbered)
            return numbered

    async def span(self) -> EventSpan:
        """Return which events are there."""
        rows = await self._ledger.fetch("select_event_span")
        return EventSpan(rows[0]["first"], rows[0]["last"])

    async def page(self, after: int, limit: int) -> list[Event]:
        """Return at most `limit` events behind a number, in order.

        Their numbers are as durable as a commit: a failover gives them to no other events.
        """
        rows = await self._ledger.fetch("select_events", after, limit)
        if rows:
            await self._ledger.sync()
        return [event_of(row) for row in rows]

    async def prune(self, age_days: int, limit: int) -> int:
        """Remove at most `limit` numbered events that are older; return how many."""
        return len(await self._ledger.fetch("prune_events", dt.timedelta(days=age_days), limit))


def event_id(sequence: int) -> str:
    """Return the id under which receivers know an event."""
    return f"evt_{sequence}"


def event_of(row: "Record") -> Event:
    """Return the event of a row with the columns of `select_events`."""
    kind = EventKind(row["kind"])
    data: dict[str, Any] = {"exam": row["exam"]}
    if kind.names_reservation:
        data |= {"reservation": row["reservation"], "candidate": row["candidate"]}
    at_ms = ms(row["at"])
    data |= orjson.loads(row["data"])
    if data.get("deadline") is not None:
        data["deadline"] = rfc3339(data["deadline"])
    told = {"type": kind, "timestamp": rfc3339(at_ms), "data": data}
    return Event(
        row["sequence"],
        kind,
        row["exam"],
        row["reservation"],
        row["candidate"],
        at_ms,
        orjson.dumps(told),
    )
