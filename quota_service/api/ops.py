"""Calls of ops: refunds due, unreadable payments, the audit."""

import base64
import logging
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Amount,
    Answer,
    Count,
    ExamId,
    NamedReservation,
    Next,
    Positive,
    ProviderReference,
    Reader,
    Time,
    parse_object,
    reason_given,
    time_or_none,
)
from quota_service.api.payments import Instant, Reference
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import UnknownPayment, UnknownRefund
from quota_service.domain.payment import RefundReason
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger import refunds_due, unreadable_payments
from quota_service.observability.caller import caller
from quota_service.registration.act_for import reopen_refund, settle_refund
from quota_service.registration.audit import Promise, audit
from quota_service.registration.noted import noted
from quota_service.schema import EXAM_EXAMPLE, Currency, Identifier, Reason, example

log = logging.getLogger(__name__)

PAGE_MAX = 500
_PAGE = 100
_ID_MAX = 2**63 - 1
EventId = Annotated[str, example("evt_2KWPBgLlAfxdpx2AI54pPJ85f4W")]


class RefundDue(Answer):
    """A captured payment that has to go back."""

    id: Annotated[str, example("42")]
    """Id of the refund due."""
    event: EventId
    """The provider's id of the payment event."""
    exam: Annotated[
        str | None,
        WithJsonSchema({"type": ["string", "null"]}),
        example(EXAM_EXAMPLE),
    ]
    """Id of the exam; null when the payment named none we know."""
    reservation: NamedReservation
    """The reservation as it was named."""
    reason: Annotated[RefundReason, example(RefundReason.SOLD_OUT)]
    """Why it goes back. `reference-reused`: another payment has its reference; ask the provider
    whether the two are one before anything is sent."""
    amount: Amount
    """In minor units."""
    currency: Currency
    provider_reference: ProviderReference
    """The provider's own reference of the payment."""
    due_at: Time
    """Since when."""
    settled_at: Time | None
    """When ops sent it back; null until then."""
    refunded_at: Time | None
    """When the provider says it sent the money back; null if never."""
    disputed_at: Time | None
    """When the provider says it was disputed; null if never."""
    settled_before: Annotated[
        Sequence[Annotated[Time, Field(description="When it was settled.")]],
        example(["2023-03-14T06:00:00.000Z"]),
    ]
    """Settlements whose money did not arrive, so that it was opened again; oldest first."""


@with_config(STRICT)
class Reopening(TypedDict):
    """Which settlement of a refund due is void, and why."""

    reason: Reason
    settled_at: Annotated[Instant, example("2023-03-15T01:00:00.000Z")]
    """The `settled_at` of the settlement whose money did not arrive."""


class RefundsDue(Answer):
    """A page of the money that has to go back."""

    exam: Annotated[Identifier | None, example(EXAM_EXAMPLE)]
    """Id of the exam that was asked for; null when none was."""
    refunds_due: Sequence[RefundDue]
    """In the order they came."""
    next: Next


class UnreadablePayment(Answer):
    """A payment event with a right signature that could not be understood."""

    id: Annotated[str, example("7")]
    """Id of the entry."""
    event: EventId
    """The provider's id of the event."""
    problem: Annotated[str, example("amount must be a whole number of minor units")]
    """What is wrong with it."""
    body: Annotated[str, example('{"amount":80.5}')]
    """The body as text; bytes that are no UTF-8 are replaced."""
    body_base64: Annotated[
        str,
        Field(json_schema_extra={"contentEncoding": "base64"}),
        example("eyJhbW91bnQiOjgwLjV9"),
    ]
    """The body byte by byte."""
    deliveries: Positive
    """How often it came."""
    received_at: Time
    """When it came first."""
    last_received_at: Time
    """When it came last."""
    settled_at: Time | None
    """When a person had dealt with it; null until then."""


class UnreadablePayments(Answer):
    """A page of the payment events that could not be understood."""

    unreadable_payments: Sequence[UnreadablePayment]
    """In the order they came."""
    next: Next


class Difference(Answer):
    """One difference."""

    promise: Annotated[Promise, example(Promise.P7)]
    """The promise."""
    place: Annotated[str, example("jinan/qms")]
    """Quota, event or reservation."""
    expected: Annotated[str, example("12 booked in Postgres")]
    """What there should be."""
    found: Annotated[str, example("11 in Redis")]
    """What there is."""


class Audit(Answer):
    """Whether the service keeps its promises for an exam."""

    exam: ExamId
    clean: bool
    """Whether there is no difference."""
    checked: Annotated[
        Sequence[Annotated[Promise, Field(description="A promise.")]], example(list(Promise))
    ]
    """The promises that were checked."""
    quotas: Annotated[Count, example(35)]
    """How many quotas were compared."""
    differences: Sequence[Difference]
    """What is not as promised."""


@with_config(STRICT)
class _Sought(TypedDict):
    reservation: Reference


REOPENING: Final = Reader(Reopening)
_SOUGHT: Final = Reader(_Sought)


async def get_refunds_due(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/refunds-due; without an exam those of all, or of one with `?exam=`.

    An empty `?exam=` asks for what names none; `?reservation=` for all of one, settled ones too.
    """
    exam = request.params.get("exam")
    after, limit = page_asked(request, "reservation", *(() if exam else ("exam",)))
    query = request.read_query()
    if exam is None:
        exam = query.get("exam")
    if exam:
        context.stores.registry.check_known(exam)
    refunds, reservation = context.stores.payments.refunds_due, query.get("reservation")
    if reservation is None:
        page = await refunds.page(exam, after, limit)
    else:
        _SOUGHT.read({"reservation": reservation})
        page = await refunds.of_reservation(reservation, exam, after, limit)
    answer: RefundsDue = {
        "exam": exam or None,
        "refunds_due": [_refund_due_json(due) for due in page],
        "next": str(page[-1].id) if len(page) == limit else None,
    }
    return Response.json(answer)


async def post_refund_settled(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/refunds-due/{refund}/settle, and without an exam."""
    exam = request.params.get("exam")
    if exam is not None:
        context.stores.registry.check_known(exam)
    number = _whole_number(request.params["refund"], 1, _ID_MAX)
    if number is None:
        raise UnknownRefund
    due = await settle_refund(context.stores.payments, exam, number, reason_given(request))
    log.info("refund due settled", extra={"refund": number, "reservation": due.reservation})
    return Response.json(_refund_due_json(due))


async def post_refund_reopened(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/refunds-due/{refund}/reopen, and without an exam."""
    body = REOPENING.read(parse_object(request.body))
    exam = request.params.get("exam")
    if exam is not None:
        context.stores.registry.check_known(exam)
    number = _whole_number(request.params["refund"], 1, _ID_MAX)
    if number is None:
        raise UnknownRefund
    stores = context.stores.payments
    due = await reopen_refund(stores, exam, number, body["settled_at"], body["reason"])
    log.info("refund due opened again", extra={"refund": number, "reservation": due.reservation})
    return Response.json(_refund_due_json(due))


async def get_unreadable_payments(context: ApiContext, request: Request) -> Response:
    """GET /v1/unreadable-payments."""
    after, limit = page_asked(request)
    page = await context.stores.payments.unreadable.page(after, limit)
    answer: UnreadablePayments = {
        "unreadable_payments": [_unreadable_json(each) for each in page],
        "next": str(page[-1].id) if len(page) == limit else None,
    }
    return Response.json(answer)


async def post_unreadable_settled(context: ApiContext, request: Request) -> Response:
    """POST /v1/unreadable-payments/{payment}/settle."""
    number = _whole_number(request.params["payment"], 1, _ID_MAX)
    if number is None:
        raise UnknownPayment
    stores, by, reason = context.stores.payments, caller().key_id, reason_given(request)
    async with noted(stores, None, "settle-payment", str(number), reason, {}):
        unreadable = await stores.unreadable.settle(number, by)
        if unreadable is None:
            raise UnknownPayment
    return Response.json(_unreadable_json(unreadable))


async def get_audit(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/audit."""
    found = await audit(context.stores.maintenance, request.params["exam"])
    answer: Audit = {
        "exam": found.exam,
        "clean": found.is_clean,
        "checked": found.checked,
        "quotas": found.quotas,
        "differences": [
            {
                "promise": difference.promise,
                "place": difference.place,
                "expected": difference.expected,
                "found": difference.found,
            }
            for difference in found.differences
        ],
    }
    return Response.json(answer)


def page_asked(request: Request, *others: str) -> tuple[int, int]:
    """Return the id to go on after, and how many to list; `others` may be asked for beside."""
    query = request.read_query()
    unknown = [name for name in query if name not in {"after", "limit", *others}]
    wrong = [(name[:64], "is not a parameter of this call") for name in unknown]
    after = _whole_number(query.get("after", "0"), 0, _ID_MAX)
    limit = _whole_number(query.get("limit", str(_PAGE)), 1, PAGE_MAX)
    if after is None:
        wrong.append(("after", "must be the `next` of the page before"))
    if limit is None:
        wrong.append(("limit", f"must be a whole number from 1 to {PAGE_MAX}"))
    if wrong or after is None or limit is None:
        raise InvalidRequest(wrong)
    return after, limit


def _whole_number(text: str, low: int, high: int) -> int | None:
    """Return the number in a text, in its shortest form and within limits; None otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004  no larger than a bigint
        return None
    return int(text) if low <= int(text) <= high and text == str(int(text)) else None


def _refund_due_json(due: refunds_due.RefundDue) -> RefundDue:
    """Return money that has to go back."""
    return {
        "id": str(due.id),
        "event": due.event,
        "exam": due.exam,
        "reservation": due.reservation,
        "reason": due.reason,
        "amount": due.amount,
        "currency": due.currency,
        "provider_reference": due.provider_reference,
        "due_at": rfc3339(due.due_ms),
        "settled_at": time_or_none(due.settled_ms),
        "refunded_at": time_or_none(due.refunded_ms),
        "disputed_at": time_or_none(due.disputed_ms),
        "settled_before": [rfc3339(moment) for moment in due.settled_before_ms],
    }


def _unreadable_json(unreadable: unreadable_payments.UnreadablePayment) -> UnreadablePayment:
    """Return a payment event that could not be understood, its body as text and byte by byte."""
    return {
        "id": str(unreadable.id),
        "event": unreadable.event,
        "problem": unreadable.problem,
        "body": unreadable.body.decode(errors="replace"),
        "body_base64": base64.b64encode(unreadable.body).decode(),
        "deliveries": unreadable.deliveries,
        "received_at": rfc3339(unreadable.received_ms),
        "last_received_at": rfc3339(unreadable.last_received_ms),
        "settled_at": time_or_none(unreadable.settled_ms),
    }
