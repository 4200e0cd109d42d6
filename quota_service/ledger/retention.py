"""What of an exam is still needed, and the removal of what is not."""

from collections.abc import Sequence

from quota_service.ledger.pool import Ledger


class RetentionLedger:
    """Removes rows in bounded batches, so that no lock is held for long."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def is_finished(self, exam: str) -> bool:
        """Return whether nothing of an exam waits for Redis or for a person."""
        return not await self.unfinished(exam)

    async def unfinished(self, exam: str) -> list[str]:
        """Return what of an exam waits for Redis or for a person: refunds, journal, or neither."""
        rows = await self._ledger.fetch("select_unfinished", exam)
        return [row["what"] for row in rows]

    async def with_journal(self, exams: Sequence[str]) -> list[str]:
        """Return those of the exams that are retired and still have a journal."""
        rows = await self._ledger.fetch("select_journals_to_prune", list(exams))
        return [row["exam"] for row in rows]

    async def prune_journal(self, exam: str, limit: int) -> int:
        """Remove at most `limit` entries, as many records and entries of its list; return how many.

        0 when there are none left; from then on the exam is known to have no journal.
        """
        entries = await self._ledger.fetch("prune_journal", exam, limit)
        records = await self._ledger.fetch("prune_reservations", exam, limit)
        listed = await self._ledger.fetch("prune_entries", exam, limit)
        pruned = len(entries) + len(records) + len(listed)
        if not pruned:
            await self._ledger.fetch("finish_pruning", exam)
        return pruned
