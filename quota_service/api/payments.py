"""Payments: the signed callbacks of the provider, and how a payment is shown.

A callback that is signed as it should be and cannot be understood is kept for a person: there may
be money behind it.
"""

import datetime as dt
import hashlib
import logging
import re
from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, Final, NotRequired

import orjson
from pydantic import BeforeValidator, ConfigDict, WithJsonSchema, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    Amount,
    Answer,
    NamedReservation,
    ProviderReference,
    Reader,
    Time,
    parse_object,
    refuse_unprintable,
    time_or_none,
)
from quota_service.client.webhooks import verified_event
from quota_service.domain.definition import EPOCH, LATEST_MS, rfc3339
from quota_service.domain.errors import EventIdReused
from quota_service.domain.payment import (
    OUTCOMES_WITHOUT_CAPTURE,
    PaymentEvent,
    PaymentOutcome,
    PaymentStatus,
    RecordedPayment,
    RefundReason,
)
from quota_service.domain.payment import PaymentResult as EndedPayment
from quota_service.http.errors import BadRequest, Unauthorized
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.confirm import confirm
from quota_service.schema import (
    CLOCK_PATTERN,
    DATE_PATTERN,
    OFFSET_PATTERN,
    RESERVATION_EXAMPLE,
    Currency,
    Fault,
    Matching,
    Meaning,
    Whole,
    example,
    wrong,
)

log = logging.getLogger(__name__)

EVENT_ID_MAX = 255
"""Characters of the id of an event."""
TEXT_MAX = 255
"""Characters of a reference the provider chooses."""
AMOUNT_MAX = 10**12
"""Minor units of one payment."""

_CONTENT = ("reservation", "status", "amount", "currency", "paid_at", "provider_reference")
"""What is the same in a payment event that is sent again."""
_WITHOUT_CAPTURE = [status.value for status in OUTCOMES_WITHOUT_CAPTURE]
_INSTANT = "must be an RFC 3339 time with an offset, such as 2023-03-14T04:00:00Z, from 1970 on"
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_MILLISECOND = dt.timedelta(milliseconds=1)


def _instant_ms(value: Any) -> int:
    """Return an RFC 3339 time in milliseconds since the epoch.

    Only times of the years 1970 to 9999 are taken, which are those that can be written again.
    """
    is_written_so = isinstance(value, str) and _RFC3339.fullmatch(value)
    try:
        moment = dt.datetime.fromisoformat(value.upper()) if is_written_so else None
    except ValueError:  # it is on no calendar
        moment = None
    # Whole numbers throughout: a float of seconds would lose a millisecond here and there.
    time_ms = -1 if moment is None else (moment - EPOCH) // _MILLISECOND
    if not 0 <= time_ms <= LATEST_MS:
        raise wrong(_INSTANT)
    return time_ms


Reference = Annotated[
    str,
    Matching(
        re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+"),
        f"1 to {TEXT_MAX} characters, none of them a control character",
        TEXT_MAX,
    ),
]
"""A text the provider chooses: anything but control characters and what breaks lines."""
Instant = Annotated[
    int,
    BeforeValidator(_instant_ms),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": f"^{DATE_PATTERN}[Tt]{CLOCK_PATTERN}{OFFSET_PATTERN}$",
        }
    ),
]
"""A time in milliseconds since the epoch, from RFC 3339 with any offset."""
_IF_CAPTURED: Final[JsonDict] = {
    "if": {"properties": {"status": {"const": PaymentStatus.CAPTURED.value}}},
    "then": {"required": ["paid_at"], "properties": {"paid_at": {"type": "string"}}},
}


@with_config(ConfigDict(use_attribute_docstrings=True, json_schema_extra=_IF_CAPTURED))
class PaymentCallback(TypedDict):
    """What happened to a payment."""

    reservation: Annotated[Reference, example(RESERVATION_EXAMPLE)]
    """Id of the reservation that was paid for; one that is unknown ends as `refund_due`. No control
    characters or line separators."""
    status: Annotated[PaymentStatus, Meaning(f"one of {', '.join(PaymentStatus)}")]
    """What happened to the money."""
    amount: Annotated[int, Whole(0, AMOUNT_MAX, " of minor units"), example(16000)]
    """In minor units, written without a fraction."""
    currency: Currency
    paid_at: NotRequired[Annotated[Instant | None, example("2023-03-14T04:03:20.000Z")]]
    """When it was paid: RFC 3339 with any offset, from the year 1970 on. Only a captured payment
    has to say; others may say null."""
    provider_reference: Annotated[Reference, example("4200001878202303141234567890")]
    """The provider's own reference of the payment. No control characters or line separators."""


class Payment(Answer):
    """A payment as the provider reported it, and how it ended."""

    status: PaymentStatus
    """What happened to the money."""
    outcome: PaymentOutcome
    """How the payment ended here."""
    reason: RefundReason | None
    """Why a captured payment goes back; null unless it is `refund_due`."""
    amount: Amount
    """In minor units."""
    currency: Currency
    paid_at: Time
    """When the provider says it was paid."""
    provider_reference: ProviderReference
    """The provider's own reference of the payment."""
    refunded_at: Time | None
    """When the provider says it sent the money back; null if never."""
    disputed_at: Time | None
    """When the provider says it was disputed; null if never."""


class PaymentResult(Answer):
    """How a payment event ended, the same each time it is sent."""

    outcome: PaymentOutcome
    """`confirmed`: the reservation is paid. `refund_due`: the money has to go back. `ignored`: the
    event moved no money. `recorded`: what became of the money later, kept and shown."""
    reservation: NamedReservation
    """The reservation as it was named."""
    reason: NotRequired[RefundReason]
    """Why the money has to go back; with `refund_due`."""


def _undated(document: Mapping[str, Any]) -> list[Fault]:
    """Return that a captured payment, or one of no known status, does not say when it was paid."""
    if document.get("paid_at") is not None or document.get("status") in _WITHOUT_CAPTURE:
        return []
    return [Fault(("paid_at",), _INSTANT if "paid_at" in document else "is missing")]


_CALLBACK: Final = Reader(PaymentCallback, _undated, is_open=True)


def verify_callback(context: ApiContext, request: Request) -> str:
    """Return the event id of a callback that is signed; raises Unauthorized."""
    now_s = context.stores.clock.estimate_ms() / 1000
    event = verified_event(context.payment_secrets, request.headers, request.body, now_s)
    if event is None:
        raise Unauthorized("the callback is not signed by a key in force")
    return event


def post_payment_callback(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/payment-callbacks."""
    now_ms = context.stores.clock.estimate_ms()
    event = request.event

    async def run() -> Response:
        try:
            refuse_unprintable("webhook-id", event, EVENT_ID_MAX)
            result = await confirm(
                context.stores.payments, parse_payment(event, now_ms, request.body)
            )
        except (BadRequest, EventIdReused) as refusal:
            # It is signed as it should be: there may be money behind it.
            context.stores.metrics.payments_unreadable.inc()
            await context.stores.payments.unreadable.keep(event, request.body, str(refusal))
            raise
        return result_answer(result)

    return run()


def result_answer(result: EndedPayment) -> Response:
    """Return the answer with how a payment event ended; a refund due has a line in the log."""
    answer: PaymentResult = {"outcome": result.outcome, "reservation": result.reservation}
    if result.reason is not None:
        answer["reason"] = result.reason
        log.info("refund due", extra={"reason": result.reason, "reservation": result.reservation})
    return Response.json(answer)


def parse_payment(event: str, received_ms: int, body: bytes) -> PaymentEvent:
    """Return the payment event in a callback's body; `event` is its webhook-id.

    Unknown members are passed over: a provider adds some without asking us. Only a captured payment
    has to say when it was paid; the others count from the time of receipt.
    """
    document = parse_object(body)
    payment = _CALLBACK.read(document)
    paid_at_ms = payment.get("paid_at")
    if paid_at_ms is None and payment["status"] is PaymentStatus.CAPTURED:
        raise _CALLBACK.refusal(document)
    content = [document.get(name) for name in _CONTENT]
    return PaymentEvent(
        event=event,
        reservation=payment["reservation"],
        status=payment["status"],
        amount=payment["amount"],
        currency=payment["currency"],
        paid_at_ms=received_ms if paid_at_ms is None else paid_at_ms,
        provider_reference=payment["provider_reference"],
        body_hash=hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest(),
        request=REQUEST_ID.get(),
    )


def payment_json(payment: RecordedPayment) -> Payment:
    """Return a recorded payment."""
    return {
        "status": payment.status,
        "outcome": payment.outcome,
        "reason": payment.reason,
        "amount": payment.amount,
        "currency": payment.currency,
        "paid_at": rfc3339(payment.paid_at_ms),
        "provider_reference": payment.provider_reference,
        "refunded_at": time_or_none(payment.refunded_ms),
        "disputed_at": time_or_none(payment.disputed_ms),
    }
