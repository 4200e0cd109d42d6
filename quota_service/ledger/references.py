"""One payment, one reference: finds payments that were told before under another event id.

An installation speaks with one provider, whose references name its payments. The event that tells
of a reference first has it (`payment_events_one_a_reference`). A later one that names the same
reservation and the same money tells of the same payment again, and ends as that did. One that names
anything else is for a person: nobody here can know whether the provider used a reference twice or
told of one payment wrongly. It is due back, under a reason of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.payment import PaymentEvent, PaymentOutcome, RefundReason
from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class ToldBefore:
    """How a payment ends whose reference another event has; `repeats` is that of the same payment.

    `repeats` is None where the other is another payment.
    """

    outcome: PaymentOutcome
    reason: RefundReason | None
    repeats: str | None


async def told_before(
    connection: "Connection", ledger: Ledger, events: Sequence[PaymentEvent]
) -> dict[str, ToldBefore]:
    """Compare captured events with those that have their references; return what was found.

    The events that have the references are held until the transaction ends, so that of several
    repeats at once each finds the one before it.
    """
    references = [event.provider_reference for event in events]
    await connection.fetch(ledger.query["lock_references"], references)
    rows = await connection.fetch(ledger.query["select_references"], references)
    found = {}
    for event in events:
        before = [row for row in rows if row["provider_reference"] == event.provider_reference]
        if before:
            found[event.event] = _compared(event, before)
    return found


def _compared(event: PaymentEvent, before: "Sequence[Record]") -> ToldBefore:
    for row in before:
        told = (row["reservation"], row["amount"], row["currency"])
        if told == (event.reservation, event.amount, event.currency):
            reason = row["reason"]
            return ToldBefore(
                PaymentOutcome(row["outcome"]),
                None if reason is None else RefundReason(reason),
                row["event"],
            )
    return ToldBefore(PaymentOutcome.REFUND_DUE, RefundReason.REFERENCE_REUSED, None)
