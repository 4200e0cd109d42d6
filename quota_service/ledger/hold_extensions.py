"""Extensions of holds in Postgres: what was decided, and how far it is carried out."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.extension import Extension
from quota_service.ledger.pool import Ledger
from quota_service.ledger.recoveries import Step
from quota_service.ledger.times import instant, ms
from quota_service.observability.caller import Caller

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An extension that is not ended, and when it was decided (ms since the epoch).

    `epoch` is that of the shard under which it is carried out, and `began` the step after which it
    was begun; None before it was taken up.
    """

    extension: Extension
    decided_ms: int
    epoch: int | None
    began: Step | None


class HoldExtensions:
    """The extensions of all exams."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def insert(  # noqa: PLR0917  a row has as many columns
        self,
        connection: "Connection",
        exam: str,
        action: int,
        venue: str,
        subject: str,
        reservation: str,
        more_ms: int,
        as_of_ms: int,
        key: str = "",
    ) -> int:
        """Decide an extension in the caller's transaction, with what ops did; return its number."""
        query = self._ledger.query["insert_hold_extension"]
        scope = (venue, subject, reservation)
        number: int = await connection.fetchval(
            query, exam, action, *scope, more_ms, instant(as_of_ms), key or None
        )
        return number

    async def of_key(self, exam: str, key: str) -> tuple[int, tuple[str, str, str, int]] | None:
        """Return the number of the extension asked for under a key, and what it means.

        That is venue, subject, reservation and by how much (ms).
        """
        rows = await self._ledger.fetch("select_hold_extension_of_key", exam, key)
        return (rows[0]["id"], tuple(rows[0].values())[1:]) if rows else None

    @asynccontextmanager
    async def alone(self, exam: str) -> AsyncIterator[bool]:
        """Keep others from carrying out extensions of an exam; False when somebody does."""
        async with self._ledger.transaction() as connection:
            locked = await connection.fetchval(self._ledger.query["try_lock_extensions"], exam)
            async with self._ledger.kept_alive(connection):
                yield bool(locked)

    async def exams(self) -> list[str]:
        """Return the exams with an extension that is not ended."""
        return [row["exam"] for row in await self._ledger.fetch("select_exams_to_extend")]

    async def unfinished(self, exam: str) -> list[Unfinished]:
        """Return the extensions of an exam that are not ended, the earliest first."""
        return [
            Unfinished(
                Extension(
                    row["id"],
                    row["exam"],
                    row["venue"],
                    row["subject"],
                    row["reservation"],
                    row["ms"],
                    ms(row["as_of"]),
                    Caller(row["key_id"], row["request_id"]).text,
                ),
                ms(row["at"]),
                row["epoch"],
                None if row["epoch"] is None else (row["began_epoch"], row["began_version"]),
            )
            for row in await self._ledger.fetch("select_hold_extensions", exam)
        ]

    async def take_up(self, number: int, epoch: int, version: int) -> None:
        """Note that one is carried out under an epoch; at first also the version it begins at."""
        await self._ledger.fetch("take_up_hold_extension", number, epoch, version)

    async def extended(self, exam: str, began: Step, page_max: int) -> AsyncIterator[Sequence[str]]:
        """Yield the serials that one has moved since it began, as the journal was drained."""
        step = began
        while rows := await self._ledger.fetch("select_extended", exam, *step, page_max):
            yield [row["subject"] for row in rows]
            step = rows[-1]["epoch"], rows[-1]["version"]

    async def end(self, number: int, epoch: int) -> int | None:
        """Note that one is ended; return how many holds it moved.

        None where the shard is not under this epoch any more, or it was ended before.
        """
        rows = await self._ledger.fetch("end_hold_extension", number, epoch)
        return rows[0]["extended"] if rows else None

    async def outcome(self, number: int) -> tuple[int, bool]:
        """Return how many holds one has moved, counted at its end, and whether it is ended."""
        row = (await self._ledger.fetch("select_hold_extension_end", number))[0]
        return row["extended"], row["is_ended"]
