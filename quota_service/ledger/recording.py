"""Writes payment events with what they book and what is due back.

It is handed the transaction that holds the epochs of their shards. The rows come in the order every
group takes: events, bookings and items, money due, counters.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quota_service.domain.payment import PaymentOutcome
from quota_service.ledger.fence import FencedTransaction
from quota_service.ledger.pool import Ledger
from quota_service.ledger.quotas import count_seats
from quota_service.ledger.times import instant

if TYPE_CHECKING:
    from quota_service.ledger.confirmations import Verdict

_ITEM_COLUMNS = 7
"""Columns of a booking's subjects in `record_payments`."""


async def record(
    transaction: FencedTransaction, ledger: Ledger, fresh: "Sequence[Verdict]"
) -> None:
    """Insert events, bookings and items, and count the seats, one row a quota."""
    connection = transaction.connection
    events = [verdict.event for verdict in fresh]
    booked = [verdict for verdict in fresh if verdict.booking]
    bookings = [(verdict.event.event, verdict.booking) for verdict in booked if verdict.booking]
    reservations = [reservation for _, reservation in bookings]
    items = [
        (r.id, r.exam, r.candidate, session, r.venue, subject, position)
        for r in reservations
        for position, (session, subject) in enumerate(zip(r.sessions, r.subjects, strict=True))
    ]
    columns = zip(*items, strict=True) if items else ((),) * _ITEM_COLUMNS
    await connection.execute(
        ledger.query["record_payments"],
        [event.event for event in events],
        [event.reservation for event in events],
        [event.status.value for event in events],
        [verdict.outcome.value for verdict in fresh],
        [verdict.reason and verdict.reason.value for verdict in fresh],
        [event.amount for event in events],
        [event.currency for event in events],
        [instant(event.paid_at_ms) for event in events],
        [event.provider_reference for event in events],
        [event.body_hash for event in events],
        [r.id for r in reservations],
        [r.exam for r in reservations],
        [r.candidate for r in reservations],
        [r.venue for r in reservations],
        [r.amount for r in reservations],
        [r.currency for r in reservations],
        [event for event, _ in bookings],
        [instant(r.created_ms) for r in reservations],
        [r.request_hash for r in reservations],
        [instant(r.first_deadline_ms) for r in reservations],
        [r.first_venue for r in reservations],
        [verdict.shard[2] if verdict.shard else 0 for verdict in booked],
        [verdict.version for verdict in booked],
        *columns,
        [verdict.told_before is None for verdict in fresh],
        [verdict.told_before and verdict.told_before.repeats for verdict in fresh],
        [event.request for event in events],
        [r.venue_changes for r in reservations],
    )
    due = [
        verdict
        for verdict in fresh
        if verdict.outcome is PaymentOutcome.REFUND_DUE and not verdict.is_repeat
    ]
    if due:
        await connection.execute(
            ledger.query["insert_refunds_due"],
            [verdict.event.event for verdict in due],
            [verdict.event.reservation for verdict in due],
            [verdict.reason and verdict.reason.value for verdict in due],
            [verdict.event.amount for verdict in due],
            [verdict.event.currency for verdict in due],
        )
    seats = Counter((exam, venue, subject) for _, exam, _, _, venue, subject, _ in items)
    await count_seats(connection, ledger, seats)
