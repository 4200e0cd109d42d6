"""Archived exams in Postgres: reasons against it, the mark, and the keys to delete in Redis."""

from typing import TYPE_CHECKING

import orjson

from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import UnknownExam
from quota_service.domain.exam import Exam
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


class ArchiveLedger:
    """Marks and reads archived exams."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def is_money_due(self, exam: str) -> bool:
        """Return whether money of an exam is due back and not settled."""
        return bool(await self._ledger.fetch("select_unsettled", exam))

    async def archive(self, connection: "Connection", exam: str) -> int:
        """Mark an exam as archived, with its waiting list ended; return since when it is (ms).

        It belongs to the caller's transaction.
        """
        at = await connection.fetchval(self._ledger.query["archive_exam"], exam)
        if at is None:
            raise UnknownExam(exam)
        await connection.execute(self._ledger.query["end_entries_of_exam"], exam)
        return ms(at)

    async def archived_at(self, exam: str) -> int | None:
        """Return since when (ms) an exam is archived, None when it is not."""
        rows = await self._ledger.fetch("select_archived_at", exam)
        return ms(rows[0]["archived_at"]) if rows else None

    async def find(self, exam: str) -> Exam:
        """Return the definition of an archived exam; UnknownExam when there is none."""
        rows = await self._ledger.fetch("select_archived_exam", exam)
        if not rows:
            raise UnknownExam(exam)
        return parse_exam(orjson.loads(rows[0]["definition"]))

    async def to_forget(self) -> list[tuple[str, int]]:
        """Return the exams that Redis may still have, and their epochs."""
        rows = await self._ledger.fetch("select_shards_to_forget")
        return [(row["exam"], row["epoch"]) for row in rows]

    async def mark_forgotten(self, exam: str, epoch: int) -> None:
        """Remember that Redis has nothing of an exam any more."""
        await self._ledger.fetch("mark_shard_forgotten", exam, epoch)
