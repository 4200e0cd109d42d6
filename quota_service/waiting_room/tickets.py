"""Tickets: a candidate's place in the order, signed, so that no store has to keep it.

A place is 0 for the draw or a number in the queue. The tickets of one candidate are used in this
order: one that was used, and all before it, are spent.
"""

from dataclasses import dataclass
from enum import StrEnum

from quota_service.waiting_room.room import Room
from quota_service.waiting_room.signing import fields_of, is_signed, sign, whole

IN_DRAW = 0
"""The number of a ticket for the draw, which is ranked by the draw."""

_FIELDS = 3


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: whose it is, of which exam, and the place in the order."""

    exam: str
    candidate: str
    place: int

    @property
    def is_for_draw(self) -> bool:
        """Whether it has part in the draw, rather than a number."""
        return self.place == IN_DRAW


class TicketFault(StrEnum):
    """Why a ticket is worth nothing."""

    INVALID = "invalid"
    OTHER_EXAM = "other exam"


def write_ticket(room: Room, ticket: Ticket) -> str:
    """Return the text of a ticket; the same ticket has the same text."""
    return sign(room.ticket_key, (ticket.exam, ticket.candidate, ticket.place))


def holder_of(text: str) -> str:
    """Return whose ticket a text claims to be, which proves nothing yet; "" where it is none."""
    fields = fields_of(text)
    return "" if fields is None or len(fields) != _FIELDS else fields[1]


def read_ticket(room: Room, candidate: str, text: str) -> Ticket | TicketFault:
    """Return the ticket of a candidate for this room, or what is wrong with it."""
    fields = fields_of(text)
    if fields is None or len(fields) != _FIELDS:
        return TicketFault.INVALID
    exam, holder, number = fields
    if exam != room.exam:
        # Its key is another one too: it says of itself that it is of no use here.
        return TicketFault.OTHER_EXAM
    place = whole(number)
    if place is None or not is_signed(room.ticket_key, text) or holder != candidate:
        return TicketFault.INVALID
    return Ticket(exam, holder, place)
