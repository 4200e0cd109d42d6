"""The record of a reservation as scripts write it: one string of fields in a fixed order."""

from quota_service.domain.reservation import Reservation, ReservationId, State

FIELDS = (
    "state",
    "candidate",
    "venue",
    "subjects",
    "sessions",
    "amount",
    "currency",
    "created_ms",
    "first_deadline_ms",
    "deadline_ms",
    "due_ms",
    "checked_out",
    "payment_seen",
    "attempt",
    "attempt_began_ms",
    "request_hash",
    "to_venue",
    "first_venue",
    "venue_changes",
    "key_id",
    "set_aside",
)
"""The order of `lua/include/record.lua`; a test holds the two together."""

_ADDED = {18: ("0", "", ""), 19: ("", ""), 20: ("",)}
"""What is added to a record of so many fields: it was written before all were there, or its seats
are of no set-aside."""

WITHOUT_RECORD = frozenset({"capacity", "ceilings", "open", "set_asides", "close_set_aside"})
"""Steps whose journal entries are of a quota or a ceiling, not of a reservation."""

_STATES = {state.value: state for state in State}


class RecordError(ValueError):
    """A text that is not the record of a reservation."""


def parse_record(exam: str, serial: str, text: str) -> Reservation:
    """Return the reservation of a record; RecordError when the text is not a record."""
    fields = text.split("|")
    fields += _ADDED.get(len(fields), ())
    try:
        (
            state,
            candidate,
            venue,
            subjects,
            sessions,
            amount,
            currency,
            created_ms,
            first_deadline_ms,
            deadline_ms,
            due_ms,
            checked_out,
            payment_seen,
            attempt,
            attempt_began_ms,
            request_hash,
            to_venue,
            first_venue,
            venue_changes,
            key_id,
            set_aside,
        ) = fields
        return Reservation(
            id=str(ReservationId(exam, serial)),
            exam=exam,
            candidate=candidate,
            venue=venue,
            subjects=tuple(subjects.split(",")),
            sessions=tuple(sessions.split(",")),
            state=_STATES[state],
            amount=int(amount),
            currency=currency,
            created_ms=int(created_ms),
            first_deadline_ms=int(first_deadline_ms),
            deadline_ms=int(deadline_ms),
            due_ms=int(due_ms),
            checked_out=checked_out == "1",
            payment_seen=payment_seen == "1",
            attempt=attempt,
            attempt_began_ms=int(attempt_began_ms),
            request_hash=request_hash,
            to_venue=to_venue,
            first_venue=first_venue,
            venue_changes=int(venue_changes or 0),
            key_id=key_id,
            set_aside=set_aside,
        )
    except (ValueError, KeyError) as error:
        raise RecordError(f"not a record of {len(FIELDS)} fields: {error}") from error


def record_text(reservation: Reservation) -> str:
    """Return the record of a reservation: the inverse of `parse_record`."""
    values = (
        reservation.state.value,
        reservation.candidate,
        reservation.venue,
        ",".join(reservation.subjects),
        ",".join(reservation.sessions),
        reservation.amount,
        reservation.currency,
        reservation.created_ms,
        reservation.first_deadline_ms,
        reservation.deadline_ms,
        reservation.due_ms,
        int(reservation.checked_out),
        int(reservation.payment_seen),
        reservation.attempt,
        reservation.attempt_began_ms,
        reservation.request_hash,
        reservation.to_venue,
        reservation.first_venue,
        reservation.venue_changes,
        reservation.key_id,
        *((reservation.set_aside,) if reservation.set_aside else ()),
    )
    return "|".join(str(value) for value in values)
