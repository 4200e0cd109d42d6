"""The kinds of events that others are told of."""

from enum import StrEnum


class EventKind(StrEnum):
    """What has happened, as `type` of an event says it."""

    HELD = "reservation.held"
    RELEASED = "reservation.released"
    EXPIRED = "reservation.expired"
    CONFIRMED = "reservation.confirmed"
    REFUNDED = "reservation.refunded"
    VENUE_CHANGED = "reservation.venue_changed"
    REFUND_DUE = "payment.refund_due"
    UNREADABLE = "payment.unreadable"
    OFFERED = "waiting_list.offered"
    OFFER_EXPIRED = "waiting_list.offer_expired"
    PAUSED = "exam.paused"
    RESUMED = "exam.resumed"
    SEATS_RELEASED = "exam.seats_released"
    TEST = "webhook.test"
    """Ops ask whether a webhook endpoint takes events; that one alone is told."""

    @property
    def names_reservation(self) -> bool:
        """Whether its data name a reservation and a candidate."""
        return self not in _WITHOUT_RESERVATION


_WITHOUT_RESERVATION = frozenset(
    {
        EventKind.UNREADABLE,
        EventKind.PAUSED,
        EventKind.RESUMED,
        EventKind.SEATS_RELEASED,
        EventKind.TEST,
    }
)
