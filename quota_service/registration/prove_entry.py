"""Prove that the candidate of a ticket is in the draw: a path from its entry to the root."""

from dataclasses import dataclass

from quota_service.domain.errors import (
    EntriesOpen,
    NotInDraw,
    SourceOff,
    TicketInvalid,
    TicketOfAnotherExam,
)
from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.entries import Proof, leaf_of
from quota_service.waiting_room.tickets import TicketFault, holder_of, read_ticket


@dataclass(frozen=True, slots=True)
class ProvedEntry:
    """The proof of a candidate, the root it leads to, and the rank where it can be known."""

    candidate: str
    proof: Proof
    root: bytes
    rank: str | None


async def prove_entry(stores: WaitingRoomStores, exam: str, text: str) -> ProvedEntry:
    """Return the proof of the candidate of a ticket.

    Raises WaitingRoomOff, TicketInvalid, TicketOfAnotherExam, SourceOff, EntriesOpen, NotInDraw.
    """
    status = stores.rooms.current(exam).status
    candidate = holder_of(text)
    match read_ticket(status.room, candidate, text):
        case TicketFault.OTHER_EXAM:
            raise TicketOfAnotherExam
        case TicketFault.INVALID:
            raise TicketInvalid
        case ticket:
            is_for_draw = ticket.is_for_draw
    draw = status.room.draw
    if draw is None:
        raise SourceOff
    if not is_for_draw:
        raise NotInDraw
    if draw.entries is None:
        raise EntriesOpen(draw.source.entries_close_at_ms)
    proof = await stores.draws.proof(exam, leaf_of(exam, candidate), draw.entries.count)
    if proof is None:
        raise NotInDraw
    return ProvedEntry(candidate, proof, draw.entries.root, status.rank(candidate))
