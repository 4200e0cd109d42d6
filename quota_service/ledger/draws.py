"""Draws with a source in Postgres: entries as they come in, frozen, proved; and the source.

An entry is committed before its ticket is answered, and only while the draw is not closed in
Postgres: `WaitingRoomLedger.note_draw_closed` waits for those on their way. So what is frozen is
exactly what was answered, whatever happens to Redis.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.coalescing import Coalescer, QueueFullError
from quota_service.domain.errors import Overloaded
from quota_service.ledger.pool import Ledger
from quota_service.settings import Settings
from quota_service.waiting_room.entries import SUBTREE, Proof, prove

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class EntryLimits:
    """How entries go to Postgres: some 100 bytes each wait here."""

    batch_max: int = 1000
    """Entries of one transaction."""
    in_flight_max: int = 2
    """Transactions of them at once."""
    queue_max: int = 20_000
    """Entries that may wait; more candidates are answered 503."""


_Entry = tuple[str, bytes]
_PAGE = 16 * SUBTREE


class DrawLedger:
    """Reads and writes entries, and what the sources of draws have come to.

    Methods with a connection belong to its transaction.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        limits = settings.limits_of(EntryLimits)
        self._coming: Coalescer[_Entry, bool] = Coalescer(
            self._insert,
            batch_max=limits.batch_max,
            in_flight_max=limits.in_flight_max,
            queue_max=limits.queue_max,
        )

    async def enter(self, exam: str, leaf: bytes) -> bool:
        """Commit an entry, also one that is there; False when the draw is closed.

        Raises LedgerUnavailable, after which it may be committed, and Overloaded.
        """
        try:
            return await self._coming.submit((exam, leaf))
        except QueueFullError as error:
            raise Overloaded("too many candidates wait for Postgres") from error

    async def _insert(self, entries: Sequence[_Entry]) -> list[bool]:
        exams, leaves = zip(*sorted(set(entries)), strict=True)
        rows = await self._ledger.commit("insert_draw_entries", exams, leaves)
        entered = {row["exam"] for row in rows}
        return [exam in entered for exam, _ in entries]

    async def has_entries(self, connection: "Connection", exam: str) -> bool:
        """Return whether anybody is in the draw of an exam."""
        return bool(await connection.fetchval(self._ledger.query["has_draw_entries"], exam))

    async def subtrees(self, exam: str) -> AsyncGenerator[list[list[bytes]], None]:
        """Yield the leaves of a closed draw in order, some subtrees at a time."""
        async with self._ledger.transaction() as connection:
            # Read in one pass: a page by page plan may sort all that is left for each page.
            cursor = await connection.cursor(self._ledger.query["select_draw_entries"], exam)
            while rows := await cursor.fetch(_PAGE):
                leaves = [row["leaf"] for row in rows]
                yield [leaves[i : i + SUBTREE] for i in range(0, len(leaves), SUBTREE)]

    async def note_subtrees(
        self, exam: str, number: int, first_leaves: Sequence[bytes], roots: Sequence[bytes]
    ) -> None:
        """Note subtrees of a closed draw, the first of which has this number."""
        await self._ledger.fetch("insert_draw_subtrees", exam, number, first_leaves, roots)

    async def freeze(self, exam: str, count: int, root: bytes) -> bool:
        """Note count and root of a closed draw; False when it was done before."""
        return bool(await self._ledger.commit("freeze_draw_entries", exam, count, root))

    async def note_source(
        self, connection: "Connection", exam: str, evidence: str, randomness: bytes
    ) -> bool:
        """Note what a source has come to; False where the draw is not waiting for one."""
        query = self._ledger.query["note_draw_source"]
        return await connection.fetchval(query, exam, evidence, randomness) is not None

    async def open_without_source(self, connection: "Connection", exam: str, reason: str) -> bool:
        """Decide to admit a draw without its source; False where it is not waiting for one."""
        query = self._ledger.query["open_without_source"]
        return await connection.fetchval(query, exam, reason) is not None

    async def proof(self, exam: str, leaf: bytes, count: int) -> Proof | None:
        """Return the proof of a frozen entry; None where there is no such entry."""
        rows = await self._ledger.fetch("select_draw_subtree_of", exam, leaf)
        if not rows:
            return None
        roots = [row["root"] for row in await self._ledger.fetch("select_draw_subtrees", exam)]
        return prove(leaf, rows[0]["number"], [row["leaf"] for row in rows], roots, count)
