"""Reads one reservation, or all reservations of one candidate.

Redis knows the state of anything recent, Postgres the payments, the bookings and what has ended
longer ago than Redis keeps records.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quota_service.domain.errors import ExamArchived, UnknownReservation
from quota_service.domain.payment import PaymentOutcome, PaymentStatus, RecordedPayment
from quota_service.domain.reservation import Reservation, ReservationId, State
from quota_service.ledger.refunds import RecordedRefund
from quota_service.ledger.refusals import RefusedBefore
from quota_service.registration.stores import ExamStores, PaymentStores
from quota_service.seats.record import parse_record

_ENDS_SHOWN = (PaymentOutcome.CONFIRMED, PaymentOutcome.REFUND_DUE)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reservation, how it was after it and who asked; time in ms by Redis's clock."""

    at_ms: int
    verb: str
    state: State
    venue: str
    key_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ReservationView:
    """A reservation with the payment that matters: the one that confirmed it, else the last."""

    reservation: Reservation
    payment: RecordedPayment | None
    history: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateView:
    """Everything a candidate has in one exam, oldest first; refusals newest first."""

    exam: str
    candidate: str
    reservations: tuple[ReservationView, ...]
    refunds: tuple[RecordedRefund, ...]
    refusals: tuple[RefusedBefore, ...]

    @property
    def is_refund_used(self) -> bool:
        """Whether the one refund of the candidate is used; those that ops made are beside it."""
        return not all(refund.by_ops for refund in self.refunds)

    @property
    def is_registered(self) -> bool:
        """Whether a seat is booked for good."""
        return any(v.reservation.state.is_booked for v in self.reservations)


async def read_reservation(stores: ExamStores, reservation_id: str) -> Reservation:
    """Return one reservation as it is now; UnknownReservation when there is none."""
    try:
        shard, serial = stores.registry.locate(reservation_id)
        reservation = await stores.seats.read(shard, serial)
    except ExamArchived:
        reservation = None
    if reservation is None:
        reservation = await forgotten_reservation(stores, reservation_id)
    if reservation is None:
        raise UnknownReservation
    return reservation


async def view_candidate(stores: PaymentStores, exam_id: str, candidate: str) -> CandidateView:
    """Return everything a candidate has in an exam; an unknown candidate has nothing."""
    stores.registry.check_known(exam_id)
    drained = await stores.reader.records_of_candidate(exam_id, candidate)
    booked = await stores.reader.bookings_of_candidate(exam_id, candidate)
    # Bookings, changes and refunds in Postgres prevail over what the journal has drained so far.
    found = {booking.id: booking for booking in booked}
    for reservation_id, record in drained.items():
        parts = ReservationId.parse(reservation_id)
        if parts is not None and reservation_id not in found:
            found[reservation_id] = parse_record(exam_id, parts.serial, record)
    if not stores.registry.is_archived(exam_id):
        found.update(await _current(stores, exam_id, candidate, found))
    ordered = sorted(found.values(), key=lambda reservation: reservation.created_ms)
    history = await _history(stores, exam_id, [reservation.id for reservation in ordered])
    views = [
        replace(await with_payment(stores, reservation), history=tuple(history[reservation.id]))
        for reservation in ordered
    ]
    refunds = await stores.refunds.of_candidate(exam_id, candidate)
    refusals = await stores.refusals.of_candidate(exam_id, candidate, list(found))
    return CandidateView(exam_id, candidate, tuple(views), tuple(refunds), tuple(refusals))


async def _current(
    stores: ExamStores, exam_id: str, candidate: str, known: Mapping[str, Reservation]
) -> dict[str, Reservation]:
    """Return a candidate's reservations in Redis, without those known to have ended.

    They may have moved on since, or not be known at all.
    """
    shard = stores.registry.shard(exam_id)
    sessions = [session.id for session in stores.registry.find(exam_id).sessions]
    open_serials = set(await stores.seats.claims(shard, candidate, sessions))
    for reservation_id, reservation in known.items():
        parts = ReservationId.parse(reservation_id)
        if parts is not None and not reservation.state.is_ended:
            open_serials.add(parts.serial)
    current = await stores.seats.read_many(shard, sorted(open_serials))
    return {reservation.id: reservation for reservation in current if reservation}


async def _history(
    stores: ExamStores, exam_id: str, reservations: Sequence[str]
) -> Mapping[str, list[Step]]:
    """Return the steps of reservations as far as the journal is drained, oldest first."""
    parts = [ReservationId.parse(reservation) for reservation in reservations]
    serials = [part.serial for part in parts if part is not None]
    history: defaultdict[str, list[Step]] = defaultdict(list)
    for entry in await stores.reader.history(exam_id, serials):
        after = parse_record(exam_id, entry.subject, entry.body)
        history[after.id].append(
            Step(entry.at_ms, entry.verb, after.state, after.venue, entry.key_id, entry.request_id)
        )
    return history


async def forgotten_reservation(stores: ExamStores, reservation_id: str) -> Reservation | None:
    """Return a reservation that Redis keeps no record of any more, from Postgres."""
    booking = await stores.reader.booking(reservation_id)
    if booking is not None:
        return booking
    record = await stores.reader.record(reservation_id)
    parts = ReservationId.parse(reservation_id)
    if record is None or parts is None:
        return None
    # The record may be older than a payment that came when Redis had forgotten it.
    return replace(parse_record(parts.exam, parts.serial, record), payment_seen=True)


async def with_payment(stores: ExamStores, reservation: Reservation) -> ReservationView:
    """Add the payment. While one is being recorded there is none to show yet.

    What costs nothing has none.
    """
    if (
        not (reservation.payment_seen and reservation.amount)
        or reservation.state is State.CONFIRMING
    ):
        return ReservationView(reservation, None)
    payments = await stores.reader.payments(reservation.id)
    captured = [payment for payment in payments if payment.status is PaymentStatus.CAPTURED]
    for outcome in _ENDS_SHOWN:
        for payment in reversed(captured):
            if payment.outcome is outcome:
                return ReservationView(reservation, payment)
    return ReservationView(reservation, None)
