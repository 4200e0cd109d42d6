"""Search of ops: a candidate on the telephone has a reservation, an id or a payment reference."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    Next,
    Reader,
    ReservationId,
    refuse_resident_id,
)
from quota_service.api.payments import Reference
from quota_service.api.reservations import Reservation, reservation_json
from quota_service.domain.errors import UnknownReservation
from quota_service.domain.reservation import Reservation as DomainReservation
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger.reading import LedgerReader
from quota_service.registration.view import ReservationView, read_reservation, with_payment
from quota_service.schema import CandidateId, Identifier

FOUND_MAX = 100
"""Reservations of a page: each is read on its own."""


@with_config(STRICT)
class _Query(TypedDict):
    reservation: NotRequired[ReservationId]
    candidate: NotRequired[CandidateId]
    reference: NotRequired[Reference]
    exam: NotRequired[Identifier]
    after: NotRequired[ReservationId]
    limit: NotRequired[Annotated[int, Field(ge=1, le=FOUND_MAX)]]


class FoundReservations(Answer):
    """A page of the reservations that were found."""

    reservations: Sequence[Reservation]
    """As they are now, by id."""
    next: Next


_QUERY: Final = Reader(_Query)


def get_reservations(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """GET /v1/reservations?reservation=|candidate=|reference=."""
    query = _parse(request.read_query())

    async def run() -> Response:
        exam = query.get("exam")
        if exam is not None:
            context.stores.registry.check_known(exam)
        ids, after = await _find(context.stores.reader, query)
        views = [await _view(context, id_) for id_ in ids]
        answer: FoundReservations = {
            "reservations": [
                reservation_json(view.reservation, view.payment)
                for view in views
                if view is not None and _matches(view.reservation, query)
            ],
            "next": after,
        }
        return Response.json(answer)

    return run()


async def _find(reader: LedgerReader, query: _Query) -> tuple[Sequence[str], str | None]:
    """Return ids of which some may match, and `after` of the next page."""
    exam, after, limit = query.get("exam"), query.get("after", ""), query.get("limit", FOUND_MAX)
    if "reference" in query:
        ids = await reader.find_of_payment(query["reference"], exam, after, limit)
    elif "candidate" in query:
        ids = await reader.find_of_candidate(query["candidate"], exam, after, limit)
    else:
        return [query["reservation"]] if "reservation" in query else [], None
    return ids, ids[-1] if len(ids) == limit else None


def _matches(reservation: DomainReservation, query: _Query) -> bool:
    return (
        query.get("reservation", reservation.id) == reservation.id
        and query.get("candidate", reservation.candidate) == reservation.candidate
        and query.get("exam", reservation.exam) == reservation.exam
    )


def _parse(query: Mapping[str, str]) -> _Query:
    """Return what is sought."""
    document: dict[str, Any] = dict(query)
    limit = document.get("limit", "")
    if limit.isascii() and limit.isdigit() and len(limit) <= len(str(FOUND_MAX)):
        document["limit"] = int(limit)
    read = _QUERY.read(document)
    if "candidate" in read:
        refuse_resident_id(read["candidate"])
    return read


async def _view(context: ApiContext, reservation: str) -> ReservationView | None:
    """Return a reservation as it is now; None for one that only a payment named."""
    try:
        found = await read_reservation(context.stores, reservation)
    except UnknownReservation:
        return None
    return await with_payment(context.stores, found)
