"""Reservations: reserve, look, give back, pay for, move, refund."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired

from multidict import MultiMapping
from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    ID_MAX,
    LIST_MAX,
    STRICT,
    Amount,
    Answer,
    ASubjectId,
    ExamId,
    Id,
    Reader,
    ReservationId,
    Time,
    VenueId,
    parse_object,
    refuse_members,
    refuse_resident_id,
    refuse_unprintable,
)
from quota_service.api.payments import Payment, payment_json
from quota_service.domain.definition import rfc3339
from quota_service.domain.payment import RecordedPayment
from quota_service.domain.reservation import Reservation as DomainReservation
from quota_service.domain.reservation import State
from quota_service.domain.set_aside_code import WRITTEN_MAX
from quota_service.http.errors import BadRequest
from quota_service.http.request import Request
from quota_service.http.response import Headers, Response
from quota_service.registration.change_venue import change_venue
from quota_service.registration.refund import refund
from quota_service.registration.release import checkout, release
from quota_service.registration.reserve import Order, Reserved, reserve
from quota_service.registration.view import read_reservation, with_payment
from quota_service.schema import CandidateId, Currency, Fault, Meaning, example

IDEMPOTENCY_KEY_MAX = 255

Ids = Annotated[
    list[Id],
    Field(
        strict=True,
        min_length=1,
        max_length=LIST_MAX,
        json_schema_extra={"uniqueItems": True},
    ),
]
"""Ids that must differ, see `duplicates`."""


class IdempotencyKeyMissing(BadRequest):
    """The header is missing or empty."""

    slug = "idempotency-key-missing"


class IdempotencyKeyAmbiguous(BadRequest):
    """There are several headers, and they differ."""

    slug = "idempotency-key-ambiguous"


@with_config(STRICT)
class OrderBody(TypedDict):
    """What a candidate asks for: all subjects at one venue, or nothing."""

    candidate: CandidateId
    subjects: Annotated[Ids, example(["general", "qms"])]
    """Ids of subjects, each in a session of its own."""
    venues: Annotated[Ids, example(["jinan", "tianjin"])]
    """Ids of venues in order of choice; the first with every subject wins."""
    accepted_notice: NotRequired[
        Annotated[
            Annotated[str, Field(strict=True, max_length=ID_MAX)]
            | Annotated[bool, Field(strict=True)]
            | None,
            Meaning("the version of the notice that was accepted, or true"),
            example("2023-1"),
        ]
    ]
    """Version of the notice the candidate accepted, or true for the one in force. Anything else is
    refused as `notice-not-accepted`."""


@with_config(STRICT)
class CodedOrderBody(OrderBody):
    """What a candidate asks for, with a code where it has one."""

    code: NotRequired[
        Annotated[
            str,
            Field(strict=True, min_length=1, max_length=WRITTEN_MAX),
            Meaning(f"a code of 1 to {WRITTEN_MAX} characters"),
        ]
    ]
    """A code of a set-aside: all seats are taken from it, none on open sale, and no pass of the
    waiting room is needed. Case, hyphens and blanks do not count."""


@with_config(STRICT)
class VenueChange(TypedDict):
    """Where a reservation is to go."""

    venue: Annotated[Id, example("tianjin")]
    """Id of the venue."""


class Reservation(Answer):
    """One candidate's subjects at one venue of one exam."""

    id: ReservationId
    exam: ExamId
    candidate: CandidateId
    venue: VenueId
    subjects: Annotated[Sequence[ASubjectId], example(["general", "qms"])]
    """Ids of the subjects."""
    state: State
    """`held`: seats taken, not paid. `confirming`: a payment is being recorded. `confirmed`: paid
    and durable. `changing_venue`: booked, and on its way to another venue. `refunded`: paid back.
    `released`: given back by the candidate. `expired`: not paid in time."""
    amount: Amount
    """The fee times the subjects, in minor units."""
    currency: Currency
    deadline: Annotated[Time | None, example("2023-03-14T04:15:12.678Z")]
    """Pay before this moment; null once paid."""
    created_at: Time
    """When the seats were taken."""
    payment: Payment | None
    """The payment that confirmed it, else the last that is due back."""


def duplicates(document: Mapping[str, Any]) -> list[Fault]:
    """Return the ids of an order that its lists have already."""
    found = []
    for member in ("subjects", "venues"):
        ids = document.get(member)
        if isinstance(ids, list) and 1 < len(ids) <= LIST_MAX:
            texts = [value for value in ids if isinstance(value, str)]
            if len(set(texts)) < len(texts):
                found += [
                    Fault((member, i), "is duplicated")
                    for i, value in enumerate(ids)
                    if isinstance(value, str) and value in ids[:i]
                ]
    return found


_ORDER: Final = Reader(CodedOrderBody, duplicates)
_VENUE_CHANGE: Final = Reader(VenueChange)


def post_reservation(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/reservations."""
    key = idempotency_key(request.headers)
    order = parse_order(request.body)
    request.candidate = order.candidate

    async def run() -> Response:
        exam, granted = request.params["exam"], request.headers.get("Waiting-Room-Pass")
        found = await reserve(context.stores.reservations, exam, order, key, granted)
        return reserved_answer(found)

    return run()


def reserved_answer(found: Reserved) -> Response:
    """Return the answer to an order that was taken, now or before."""
    headers: Headers = (("Location", f"/v1/reservations/{found.reservation.id}"),)
    if found.replayed:
        headers += (("Idempotency-Replayed", "true"),)
    return Response.json(reservation_json(found.reservation), 201, headers)


async def get_reservation(context: ApiContext, request: Request) -> Response:
    """GET /v1/reservations/{reservation}."""
    reservation = await read_reservation(context.stores, request.params["reservation"])
    return await viewed(context, reservation)


async def delete_reservation(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/reservations/{reservation}."""
    return await viewed(context, await release(context.stores, request.params["reservation"]))


async def post_checkout(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/checkout."""
    refuse_members(request.body)
    return await viewed(context, await checkout(context.stores, request.params["reservation"]))


async def put_venue(context: ApiContext, request: Request) -> Response:
    """PUT /v1/reservations/{reservation}/venue."""
    venue = _VENUE_CHANGE.read(parse_object(request.body))["venue"]
    changed = await change_venue(context.stores.payments, request.params["reservation"], venue)
    return await viewed(context, changed)


async def post_refund(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/refund."""
    refuse_members(request.body)
    return await viewed(
        context, await refund(context.stores.payments, request.params["reservation"])
    )


async def viewed(context: ApiContext, reservation: DomainReservation) -> Response:
    """Return the answer with a reservation and the payment that was seen for it."""
    view = await with_payment(context.stores, reservation)
    return Response.json(reservation_json(view.reservation, view.payment))


def idempotency_key(headers: "MultiMapping[str]") -> str:
    """Return the key in the headers; raises IdempotencyKeyMissing and IdempotencyKeyAmbiguous."""
    offered = {value.strip() for value in headers.getall("Idempotency-Key", ())}
    if len(offered) > 1:
        raise IdempotencyKeyAmbiguous("send one Idempotency-Key header; there are several")
    key = offered.pop() if offered else ""
    if not key:
        raise IdempotencyKeyMissing("send an Idempotency-Key header, a new one for each order")
    refuse_unprintable("Idempotency-Key", key, IDEMPOTENCY_KEY_MAX)
    return key


def parse_order(body: bytes) -> Order:
    """Return the order in a reservation's body."""
    return read_order(_ORDER, parse_object(body))


def read_order(reader: Reader[Any], document: Mapping[str, Any]) -> Order:
    """Return the order in a document that has the members of one, by the reader for it."""
    order = reader.read(document)
    candidate, subjects, venues = order["candidate"], order["subjects"], order["venues"]
    # Most orders have no id in both lists, and are known by one look to have none twice.
    if len({*subjects, *venues}) < len(subjects) + len(venues) and duplicates(document):
        raise reader.refusal(document)
    refuse_resident_id(candidate)
    # Not accepted at all is a refusal of its own, which names the version to accept.
    notice = order.get("accepted_notice") or False
    return Order(candidate, tuple(subjects), tuple(venues), notice, order.get("code", ""))


def reservation_json(
    reservation: DomainReservation, payment: RecordedPayment | None = None
) -> Reservation:
    """Return a reservation; one that was paid has no deadline any more."""
    state = reservation.state
    was_paid = state is not State.HELD and (state.is_booked or state is State.REFUNDED)
    return {
        "id": reservation.id,
        "exam": reservation.exam,
        "candidate": reservation.candidate,
        "venue": reservation.venue,
        "subjects": reservation.subjects,
        "state": state,
        "amount": reservation.amount,
        "currency": reservation.currency,
        "deadline": None if was_paid else rfc3339(reservation.deadline_ms),
        "created_at": rfc3339(reservation.created_ms),
        "payment": None if payment is None else payment_json(payment),
    }
