"""Ops act for a candidate: reserve, mark as paid, give back, move, refund; each with a reason."""

from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, Final

from pydantic import with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import STRICT, Reader, parse_object
from quota_service.api.payments import Reference, result_answer
from quota_service.api.reservations import (
    OrderBody,
    duplicates,
    idempotency_key,
    read_order,
    reserved_answer,
    viewed,
)
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.act_for import (
    mark_paid,
    move,
    refund_for,
    release_for,
    reserve_for,
)
from quota_service.registration.reserve import Order
from quota_service.schema import Identifier, Reason, example


@with_config(STRICT)
class MarkedPaid(TypedDict):
    """A payment that did not come by the provider's callbacks."""

    reason: Reason
    reference: Annotated[Reference, example("bank 2023-03-14/77")]
    """The reference of the payment, one for each payment."""


@with_config(STRICT)
class OpsOrder(OrderBody):
    """What ops order for a candidate, and why."""

    reason: Reason


@with_config(STRICT)
class Reasoned(TypedDict):
    """Why it is done."""

    reason: Reason


@with_config(STRICT)
class Move(TypedDict):
    """Where a reservation is to go, and why."""

    reason: Reason
    venue: Annotated[Identifier, example("tianjin")]
    """Id of the venue."""


MARKED_PAID: Final = Reader(MarkedPaid)
_OPS_ORDER: Final = Reader(OpsOrder, duplicates)
REASONED: Final = Reader(Reasoned)
MOVE: Final = Reader(Move)


def post_ops_reservation(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/ops-reservations."""
    key = idempotency_key(request.headers)
    document = parse_object(request.body)
    order = read_ops_order(document)
    request.candidate = order.candidate

    async def run() -> Response:
        exam, stores = request.params["exam"], context.stores.reservations
        found = await reserve_for(stores, exam, order, key, document["reason"])
        return reserved_answer(found)

    return run()


def read_ops_order(document: Mapping[str, Any]) -> Order:
    """Return the order in a document that ops give a reason for."""
    return read_order(_OPS_ORDER, document)


def post_mark_paid(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/reservations/{reservation}/mark-paid."""
    body = MARKED_PAID.read(parse_object(request.body))

    async def run() -> Response:
        reservation = request.params["reservation"]
        stores = context.stores.payments
        result = await mark_paid(stores, reservation, body["reference"], body["reason"])
        return result_answer(result)

    return run()


async def post_release(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/release."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    released = await release_for(context.stores, request.params["reservation"], reason)
    return await viewed(context, released)


async def post_ops_refund(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/ops-refund."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    reservation = request.params["reservation"]
    refunded = await refund_for(context.stores.payments, reservation, reason)
    return await viewed(context, refunded)


async def post_move(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/move."""
    body = MOVE.read(parse_object(request.body))
    reservation = request.params["reservation"]
    moved = await move(context.stores.payments, reservation, body["venue"], body["reason"])
    return await viewed(context, moved)
