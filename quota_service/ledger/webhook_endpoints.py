"""Webhook endpoints as ops have them: made, looked at, disabled and enabled, deleted.

Methods with a connection belong to the caller's transaction.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quota_service.domain.webhook import ENDPOINTS_MAX, DeliveryState, DisabledReason
from quota_service.ledger.events import event_id
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint as ops want it; `exams` and `kinds` None: it is told of all."""

    url: str = field(repr=False)
    exams: Sequence[str] | None
    kinds: Sequence[str] | None
    description: str


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """An endpoint without its secrets; times in ms.

    `old_secret_ends_ms` is set while the secret before the newest signs beside it.
    """

    id: str
    wanted: NewEndpoint
    created_ms: int
    disabled_ms: int | None
    disabled_reason: DisabledReason | None
    failing_since_ms: int | None
    old_secret_ends_ms: int | None
    pending: int
    given_up: int


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as it is listed; times in ms. `next_ms` is None once it has ended."""

    sequence: int
    kind: str
    at_ms: int
    exam: str | None
    reservation: str | None
    state: DeliveryState
    attempts: int
    next_ms: int | None
    last_tried_ms: int | None
    last_status: int | None
    last_error: str | None

    @property
    def event(self) -> str:
        """The id under which the receiver knows the event."""
        return event_id(self.sequence)


class WebhookEndpoints:
    """The endpoints."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def all(self) -> list[StoredEndpoint]:
        """Return every endpoint, the oldest first."""
        return [
            _endpoint(row) for row in await self._ledger.fetch("select_webhook_endpoints", None)
        ]

    async def find(self, endpoint: str) -> StoredEndpoint | None:
        """Return one, if there is one of this id."""
        rows = await self._ledger.fetch("select_webhook_endpoints", endpoint)
        return _endpoint(rows[0]) if rows else None

    async def lock(self, connection: "Connection", endpoint: str) -> tuple[bool, bool]:
        """Lock an endpoint; return whether there is one, and whether it is enabled."""
        row = await connection.fetchrow(self._query["lock_webhook_endpoint"], endpoint)
        return row is not None, row is not None and row["disabled_reason"] is None

    async def add(self, connection: "Connection", endpoint: str, new: NewEndpoint) -> bool:
        """Make an endpoint without a secret; False when there are too many."""
        row = await connection.fetchrow(
            self._query["insert_webhook_endpoint"],
            endpoint,
            new.url,
            new.exams,
            new.kinds,
            new.description,
            ENDPOINTS_MAX,
        )
        return row is not None

    async def add_secret(
        self, connection: "Connection", endpoint: str, secret: bytes, keep_s: int
    ) -> int | None:
        """Give it a secret; return when (ms) the one before ends, which signs for so long."""
        ends_at = await connection.fetchval(
            self._query["insert_webhook_secret"], endpoint, secret, dt.timedelta(seconds=keep_s)
        )
        return None if ends_at is None else ms(ends_at)

    async def disable(self, connection: "Connection", endpoint: str) -> None:
        """Send nothing to it any more."""
        await connection.execute(self._query["disable_webhook_endpoint"], endpoint)

    async def enable(self, connection: "Connection", endpoint: str) -> None:
        """Send to it again, first what came meanwhile."""
        await connection.execute(self._query["enable_webhook_endpoint"], endpoint)

    async def delete(self, connection: "Connection", endpoint: str) -> None:
        """Delete it with its secrets."""
        await connection.execute(self._query["delete_webhook_endpoint"], endpoint)

    async def add_test(self, connection: "Connection", endpoint: str) -> None:
        """Let an event of no meaning be told to it, at once."""
        await connection.execute(self._query["insert_webhook_test"], endpoint)

    async def replay(
        self, endpoint: str, since_ms: int, after: int, limit: int
    ) -> tuple[int, int | None]:
        """Deliver the events since a time again, of a page of events after a sequence.

        Returns how many, and the last sequence that was looked at, None at the end.
        """
        rows = await self._ledger.fetch(
            "replay_webhook_deliveries", endpoint, instant(since_ms), after, limit
        )
        return rows[0]["made"], rows[0]["last"]

    async def deliveries(
        self, endpoint: str, before: int, state: DeliveryState | None, limit: int
    ) -> list[StoredDelivery]:
        """Return at most `limit` before a sequence, the newest first; all where it is 0."""
        if state in {DeliveryState.PENDING, DeliveryState.GIVEN_UP}:
            rows = await self._ledger.fetch(
                "select_webhook_deliveries_left", endpoint, before, state, limit
            )
        else:
            rows = await self._ledger.fetch(
                "select_webhook_deliveries", endpoint, before, state is not None, limit
            )
        return [_delivery(row) for row in rows]


def _endpoint(row: "Record") -> StoredEndpoint:
    reason = row["disabled_reason"]
    return StoredEndpoint(
        row["id"],
        NewEndpoint(row["url"], row["exams"], row["kinds"], row["description"]),
        ms(row["created_at"]),
        _ms_or_none(row["disabled_at"]),
        None if reason is None else DisabledReason(reason),
        _ms_or_none(row["failing_since"]),
        _ms_or_none(row["old_until"]),
        row["pending"],
        row["given_up"],
    )


def _delivery(row: "Record") -> StoredDelivery:
    state = DeliveryState(row["state"])
    return StoredDelivery(
        row["sequence"],
        row["kind"],
        ms(row["at"]),
        row["exam"],
        row["reservation"],
        state,
        row["attempts"],
        ms(row["next_at"]) if state is DeliveryState.PENDING else None,
        _ms_or_none(row["last_tried_at"]),
        row["last_status"],
        row["last_error"],
    )


def _ms_or_none(moment: dt.datetime | None) -> int | None:
    return None if moment is None else ms(moment)
