"""Waiting rooms in Postgres: made with their secrets, read whole, and the numbers set aside."""

import datetime as dt
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from quota_service.definitions.sources import parse_source
from quota_service.domain.definition import source_document
from quota_service.domain.errors import NotReady
from quota_service.domain.exam import WaitingRoomRules
from quota_service.ledger.fence import ShardEpoch, fenced_transaction
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms
from quota_service.waiting_room.room import (
    Entries,
    KnownSource,
    Room,
    SourcedDraw,
    Sourceless,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection

_SECRET_BYTES = 32


class WaitingRoomLedger:
    """Reads and writes waiting rooms. Methods with a connection belong to its transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def ensure(
        self, connection: "Connection", exam: str, rules: WaitingRoomRules, opens_at_ms: int
    ) -> None:
        """Make the room of an exam unless it has one; give it the source of its draw.

        That of a draw that is closed stays.
        """
        await connection.execute(
            self._query["insert_waiting_room"],
            exam,
            secrets.token_bytes(_SECRET_BYTES),
            secrets.token_bytes(_SECRET_BYTES),
            secrets.token_bytes(_SECRET_BYTES),
            rules.rate_per_s,
            instant(opens_at_ms),
        )
        source = rules.source
        told = None if source is None else orjson.dumps(source_document(source)).decode()
        await connection.execute(self._query["set_draw_source"], exam, told)

    async def draw_for_change(self, connection: "Connection", exam: str) -> Room | None:
        """Keep the draw of an exam from being closed until the transaction ends; return its room.

        None where the exam never had one.
        """
        row = await connection.fetchrow(self._query["lock_draw_for_change"], exam)
        return None if row is None else as_room(row)

    async def note_draw_closed(self, shard: ShardEpoch) -> Room:
        """Note for good that Redis has closed the draw, and return the room; its seed may be shown.

        NotReady is raised when the epoch of the shard is over: the Redis that reported it is in
        the past, and the one of now may still take candidates into the draw.
        """
        exam, _ = shard
        async with fenced_transaction(self._ledger, [shard]) as transaction:
            if shard not in transaction.opened:
                raise NotReady(f"the epoch of exam {exam} in which its draw was closed is over")
            # Entries on their way into the draw come first, none after it.
            await transaction.connection.execute(self._query["lock_draw"], exam)
            query = self._query["note_draw_closed"]
            row = await transaction.connection.fetchrow(query, exam)
        if row is None:
            raise NotReady(f"exam {exam} has no waiting room")
        return as_room(row)

    async def close_draw(self, exam: str) -> bool:
        """Close a draw whose entries are to close, by Postgres's clock; False if it was, or is not.

        It needs no Redis: who is in such a draw is decided here alone.
        """
        async with self._ledger.transaction() as connection:
            await connection.execute(self._query["lock_draw"], exam)
            return await connection.fetchval(self._query["close_due_draw"], exam) is not None

    async def all(self, exams: Sequence[str] | None = None) -> dict[str, Room]:
        """Return the rooms of some exams, or every room, by exam."""
        rows = await self._ledger.fetch("select_waiting_rooms", exams)
        return {row["exam"]: as_room(row) for row in rows}

    async def reserve_numbers(self, shard: ShardEpoch, reached: int | None, count: int) -> int:
        """Set `count` numbers aside for good and return the highest of all that ever were.

        Where the highest is beyond `reached` already it is returned as it is; with None more are
        set aside in any case, and those that are new are the last `count`. NotReady is raised when
        the epoch of the shard is over: what was set aside since is not for a Redis that lives in
        the past.
        """
        exam, _ = shard
        async with fenced_transaction(self._ledger, [shard]) as transaction:
            if shard not in transaction.opened:
                raise NotReady(f"the epoch of exam {exam} in which numbers were asked for is over")
            query = self._query["reserve_waiting_room_numbers"]
            highest: int = await transaction.connection.fetchval(query, exam, reached, count)
        return highest


def as_room(row: "Record") -> Room:
    """Return the room in a row of `waiting_rooms`."""
    return Room(
        exam=row["exam"],
        seed=row["seed"],
        ticket_key=row["ticket_key"],
        pass_key=row["pass_key"],
        threshold=row["threshold"],
        late_threshold=row["late_threshold"],
        serving=row["serving"],
        late_through=row["late_through"],
        numbers_reserved=row["numbers_reserved"],
        drawn=row["drawn"],
        rate=row["rate"],
        fixed_rate=row["fixed_rate"],
        is_paused=row["paused"],
        leader=row["leader"],
        leader_epoch=row["leader_epoch"],
        lease_until_ms=_ms(row["lease_until"]),
        stepped_ms=_ms(row["stepped_at"]),
        opened_ms=_ms(row["opened_at"]),
        created_ms=ms(row["created_at"]),
        draw=None if row["source"] is None else _draw(row),
    )


def _draw(row: "Record") -> SourcedDraw:
    source = parse_source(orjson.loads(row["source"]))
    entries = known = sourceless = None
    if row["entries_frozen_at"] is not None:
        entries = Entries(row["entries_count"], row["entries_root"], ms(row["entries_frozen_at"]))
    if row["source_known_at"] is not None:
        known = KnownSource(row["source_evidence"], row["randomness"], ms(row["source_known_at"]))
    if row["sourceless_at"] is not None:
        sourceless = Sourceless(row["sourceless_reason"], ms(row["sourceless_at"]))
    return SourcedDraw(source, entries, known, sourceless)


def _ms(time: dt.datetime | None) -> int | None:
    return None if time is None else ms(time)
