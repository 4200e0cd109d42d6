"""What a candidate may reach with a token: what is its own.

A route that candidates may call names one of the checks below, by how the call says whose it is.
`Route.answer` runs it before the handler, so nothing was begun where it refuses. The owner of a
reservation or an entry never changes: what was read here is still so when the handler acts.

What somebody else has is answered as what does not exist; somebody else's name is Forbidden.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from quota_service.api.context import ApiContext
from quota_service.api.models import parse_object
from quota_service.domain.errors import TicketInvalid, UnknownEntry, UnknownReservation
from quota_service.http.errors import Forbidden
from quota_service.http.request import Request
from quota_service.registration.view import read_reservation
from quota_service.registration.view_list import find_entry
from quota_service.waiting_room.tickets import holder_of

OwnerCheck = Callable[[ApiContext, Request], Coroutine[Any, Any, None] | None]
"""Raises where the call is about what the owner of the token does not have.

A coroutine is returned where a store has to be asked.
"""


def in_path(_context: ApiContext, request: Request) -> None:
    """Check the candidate in the address."""
    _check_name(request, request.params["candidate"])


def in_body(_context: ApiContext, request: Request) -> None:
    """Check the candidate in the body; without one the handler refuses it."""
    named = parse_object(request.body).get("candidate")
    if named is not None:
        _check_name(request, named)


def of_ticket(_context: ApiContext, request: Request) -> None:
    """Check the candidate of the ticket in the query; without one the handler refuses it."""
    ticket = request.read_query().get("ticket", "")
    if ticket and holder_of(ticket) != request.owner:
        raise TicketInvalid


async def of_reservation(context: ApiContext, request: Request) -> None:
    """Check the candidate of the reservation in the address."""
    found = await read_reservation(context.stores, request.params["reservation"])
    if found.candidate != request.owner:
        raise UnknownReservation


async def of_entry(context: ApiContext, request: Request) -> None:
    """Check the candidate of the entry of a waiting list in the address."""
    exam, entry = request.params["exam"], request.params["entry"]
    found = await find_entry(context.stores.waiting_list, exam, entry)
    if found.candidate != request.owner:
        raise UnknownEntry


def _check_name(request: Request, named: object) -> None:
    if named != request.owner:
        raise Forbidden("the candidate token is for another candidate")
