"""Set-asides and their codes in Postgres. No code is stored, but its hash."""

import datetime as dt
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection

_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class StoredSetAside:
    """A set-aside as Postgres keeps it; one that is over stays so."""

    id: str
    until_ms: int
    seats: Mapping[Quota, int]
    is_over: bool


@dataclass(frozen=True, slots=True)
class FoundCode:
    """A code that somebody has shown: of which set-aside it is, and how often it may be used."""

    id: str
    set_aside: str
    uses_max: int
    is_revoked: bool
    is_over: bool
    """Whether its set-aside is over."""


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A code as it is listed: its id names it, and nothing tells the code itself.

    `number` is its place in the order in which codes were made.
    """

    id: str
    number: int
    uses_max: int
    note: str
    made_ms: int
    revoked_ms: int | None


class SetAsideLedger:
    """Reads and writes set-asides. Methods with a connection belong to its transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def put(self, connection: "Connection", exam: Exam) -> None:
        """Store the set-asides of a definition; those that it has not any more are over."""
        kept = exam.set_asides
        await connection.execute(
            self._query["upsert_set_asides"],
            exam.id,
            [each.id for each in kept],
            [instant(each.until_ms) for each in kept],
            [
                orjson.dumps({str(quota): seats for quota, seats in each.seats.items()}).decode()
                for each in kept
            ],
        )
        await connection.execute(self._query["end_set_asides"], exam.id, [each.id for each in kept])

    async def all(self, connection: "Connection", exam: str) -> list[StoredSetAside]:
        """Return the set-asides of an exam, those that are over too."""
        rows = await connection.fetch(self._query["select_set_asides"], exam)
        return [_stored(row) for row in rows]

    async def are_due(self) -> bool:
        """Return whether there is anything to do for `end_due` or `to_return`."""
        return bool(await self._ledger.fetch("select_due_set_asides"))

    async def end_due(self) -> None:
        """End the set-asides whose time has come."""
        await self._ledger.commit("end_due_set_asides")

    async def to_return(self) -> list[tuple[str, str]]:
        """Return exam and id of set-asides that are over and whose seats Redis may still keep."""
        rows = await self._ledger.fetch("select_set_asides_to_return")
        if rows:
            await self._ledger.sync()
        return [(row["exam"], row["id"]) for row in rows]

    async def mark_returned(self, exam: str, set_aside: str) -> None:
        """Remember that Redis keeps no seats of a set-aside any more."""
        await self._ledger.fetch("mark_set_aside_returned", exam, set_aside)

    async def add_codes(
        self,
        exam: str,
        set_aside: str,
        hashes: Mapping[str, bytes],
        *,
        uses_max: int,
        note: str,
    ) -> frozenset[str]:
        """Store codes by their ids; return the ids of those that were not there before."""
        rows = await self._ledger.commit(
            "insert_set_aside_codes",
            exam,
            set_aside,
            list(hashes),
            list(hashes.values()),
            uses_max,
            note,
        )
        return frozenset(row["id"] for row in rows)

    async def find_code(self, exam: str, hashed: bytes | None) -> FoundCode | None:
        """Return the code of a hash, None without one; both take the same time."""
        rows = await self._ledger.fetch("select_set_aside_code", exam, hashed or _NO_HASH)
        row = rows[0] if rows else None
        matches = hmac.compare_digest(_NO_HASH if row is None else row["hash"], hashed or b"")
        if row is None or not matches:
            return None
        return FoundCode(
            row["id"], row["set_aside"], row["uses_max"], row["is_revoked"], row["is_over"]
        )

    async def uses_max(self, exam: str, set_aside: str) -> int | None:
        """Return how often the code in the words of a reservation may be used, None without one."""
        code = set_aside.partition(":")[2]
        if not code:
            return None
        rows = await self._ledger.fetch("select_code_uses_max", exam, code)
        return int(rows[0]["uses_max"]) if rows else None

    async def codes(
        self, exam: str, set_aside: str, after: int, limit: int
    ) -> Sequence[StoredCode]:
        """Return a page of the codes of a set-aside, by number."""
        rows = await self._ledger.fetch("select_set_aside_codes", exam, set_aside, after, limit)
        return [_code(row["id"], row) for row in rows]

    async def revoke_code(self, exam: str, set_aside: str, code: str) -> StoredCode | None:
        """Revoke a code, once; return it as it is now, None when there is none of this id."""
        rows = await self._ledger.commit("revoke_set_aside_code", exam, set_aside, code)
        return _code(code, rows[0]) if rows else None


def _stored(row: "Record") -> StoredSetAside:
    seats = {Quota(*quota.split("/")): count for quota, count in orjson.loads(row["seats"]).items()}
    return StoredSetAside(row["id"], ms(row["until"]), seats, row["state"] == "over")


def _code(code: str, row: "Record") -> StoredCode:
    revoked: dt.datetime | None = row["revoked_at"]
    revoked_ms = None if revoked is None else ms(revoked)
    return StoredCode(
        code, row["number"], row["uses_max"], row["note"], ms(row["made_at"]), revoked_ms
    )
