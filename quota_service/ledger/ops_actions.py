"""What ops did beyond the rules of an exam: noted before it is done, with how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from quota_service.domain.extension import Extended
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms
from quota_service.observability.caller import Caller

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection

DONE = "done"
"""The outcome of an act that was not refused."""


@dataclass(frozen=True, slots=True)
class OpsAction:
    """One act, when it began (ms), and its outcome: DONE, the slug of a refusal, or not known.

    `subject` is a reservation, the candidate of a new one, or a venue; `detail` is what else was
    asked for.
    """

    id: int
    exam: str | None
    at_ms: int
    action: str
    subject: str
    reason: str
    by: Caller
    detail: Mapping[str, Any]
    outcome: str | None


class OpsActions:
    """The acts of ops, which stay for good."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def note(  # noqa: PLR0917  a row has as many columns
        self,
        connection: "Connection",
        exam: str | None,
        by: Caller,
        action: str,
        subject: str,
        reason: str,
        detail: Mapping[str, object],
        outcome: str | None = DONE,
    ) -> int:
        """Remember what ops do in the caller's transaction, or begin to do; return its id."""
        told = orjson.dumps(detail).decode()
        query = self._ledger.query["insert_ops_action"]
        number: int = await connection.fetchval(
            query, exam, action, subject, reason, by.key_id, by.request_id, told, outcome
        )
        return number

    async def end(self, number: int, outcome: str) -> None:
        """Remember how an act ended."""
        await self._ledger.fetch("end_ops_action", number, outcome)

    async def page(
        self,
        exam: str | None,
        candidate: str | None,
        reservation: str | None,
        after: int,
        limit: int,
    ) -> list[OpsAction]:
        """Return at most `limit` after an id, the oldest first.

        Of what is given, those of an exam, and those that concern a candidate or a reservation: an
        act that names a venue does where the journal has its step.
        """
        rows = await self._ledger.fetch(
            "select_ops_actions", exam, candidate, reservation, after, limit
        )
        return [_action(row) for row in rows]

    async def of_exam(
        self, exam: str, before: int, limit: int
    ) -> list[tuple[OpsAction, Extended | None]]:
        """Return at most `limit` of an exam before an id, the newest first; all where it is 0.

        With what extended holds comes how far that is.
        """
        rows = await self._ledger.fetch("select_operations", exam, before, limit)
        return [(_action(row), _extended(row)) for row in rows]


def _action(row: "Record") -> OpsAction:
    return OpsAction(
        row["id"],
        row["exam"],
        ms(row["at"]),
        row["action"],
        row["subject"],
        row["reason"],
        Caller(row["key_id"], row["request_id"]),
        orjson.loads(row["detail"]),
        row["outcome"],
    )


def _extended(row: "Record") -> Extended | None:
    if row["extension"] is None:
        return None
    return Extended(row["extension"], row["ms"], row["extended"], row["is_ended"])
