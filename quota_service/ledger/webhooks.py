"""Deliveries of events to webhook endpoints.

One worker at a time holds an endpoint, for a lease that each record of attempts renews, and
delivers to it. So what is under way needs no mark on each delivery: whoever takes over an endpoint
whose worker died sends again what that one had not recorded, in the same order.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from quota_service.domain.webhook import ENDPOINTS_MAX, RETRIED_FOR_DAYS, DisabledReason
from quota_service.ledger.events import Event, event_of
from quota_service.ledger.pool import Ledger

LEASE_S = 20.0
"""How long a worker that says nothing holds an endpoint: longer than an attempt takes."""

_LEASE = dt.timedelta(seconds=LEASE_S)
_TRIED_FOR = dt.timedelta(days=RETRIED_FOR_DAYS)


@dataclass(frozen=True, slots=True)
class HeldEndpoint:
    """An endpoint that this worker delivers to; the newest of the secrets in force first."""

    id: str
    url: str = field(repr=False)
    failures: int
    secrets: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """An event to be told, and how often that was tried."""

    sequence: int
    attempts: int
    event: Event


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt: `status` of the answer if there was one, `error` if it failed.

    `pause_s` is how long the delivery waits then.
    """

    sequence: int
    is_taken: bool
    status: int | None
    error: str | None
    pause_s: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """That the worker holds the endpoint still, unless it is disabled now; what it has given up."""

    disabled: DisabledReason | None
    given_up: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint stands; `failing_s` 0 while it takes what it is sent."""

    endpoint: str
    disabled: DisabledReason | None
    failing_s: float
    pending: int
    given_up: int


class WebhookLedger:
    """The deliveries, as workers have them. Every method raises LedgerUnavailable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def claim(self, holder: str, under_way: Sequence[str]) -> list[HeldEndpoint]:
        """Take the endpoints with something due that nobody holds."""
        rows = await self._ledger.fetch(
            "claim_webhook_endpoints", holder, list(under_way), _LEASE, ENDPOINTS_MAX
        )
        return [
            HeldEndpoint(row["id"], row["url"], row["failures"], tuple(row["secrets"]))
            for row in rows
        ]

    async def due(self, endpoint: str, under_way: Sequence[int], limit: int) -> list[DueDelivery]:
        """Return at most `limit` that are due, of each reservation one, without those under way.

        Their numbers are as durable as a commit, as those of `EventLedger.page` are.
        """
        rows = await self._ledger.fetch(
            "select_due_webhook_deliveries", endpoint, list(under_way), limit
        )
        if rows:
            await self._ledger.sync()
        return [DueDelivery(row["sequence"], row["attempts"], event_of(row)) for row in rows]

    async def record(
        self,
        endpoint: str,
        holder: str,
        attempts: Sequence[Attempt],
        failures: int,
        pause_s: float,
        *,
        leaves: bool,
    ) -> Recorded | None:
        """Record attempts and how the endpoint stands; None when another worker may hold it."""
        told = [
            {
                "sequence": each.sequence,
                "is_taken": each.is_taken,
                "status": each.status,
                "error": each.error,
                "pause_s": each.pause_s,
            }
            for each in attempts
        ]
        rows = await self._ledger.fetch(
            "record_webhook_attempts",
            endpoint,
            holder,
            orjson.dumps(told).decode(),
            failures,
            dt.timedelta(seconds=pause_s),
            None if leaves else _LEASE,
            _TRIED_FOR,
        )
        if not rows:
            return None
        reason = rows[0]["disabled_reason"]
        return Recorded(None if reason is None else DisabledReason(reason), rows[0]["given_up"])

    async def retry_now(self, endpoint: str) -> None:
        """Let what waits for its next attempt be tried at once: the endpoint takes again."""
        await self._ledger.fetch("retry_webhook_deliveries_now", endpoint)

    async def leave(self, holder: str) -> None:
        """Let others take the endpoints of a worker that ends."""
        await self._ledger.fetch("leave_webhook_endpoints", holder)

    async def standing(self) -> list[Standing]:
        """Return how each endpoint stands."""
        rows = await self._ledger.fetch("select_webhook_standing")
        return [
            Standing(
                row["id"],
                None if row["disabled_reason"] is None else DisabledReason(row["disabled_reason"]),
                row["failing_s"] or 0.0,
                row["pending"],
                row["given_up"],
            )
            for row in rows
        ]

    async def prune(self, limit: int) -> int:
        """Remove at most `limit` deliveries whose event or endpoint is gone; return how many."""
        rows = await self._ledger.fetch("prune_webhook_deliveries", limit)
        await self._ledger.fetch("prune_webhook_endpoints")
        return int(rows[0]["count"])
