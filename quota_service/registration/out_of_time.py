"""The refusals of what comes too early or too late for the definition of an exam."""

from collections.abc import Iterable

from quota_service.domain.errors import (
    Refused,
    RegistrationClosed,
    RegistrationNotOpen,
    SessionStarted,
)
from quota_service.domain.exam import Exam
from quota_service.seats.codes import Code


def out_of_time(exam: Exam, subjects: Iterable[str], code: Code) -> Refused:
    """Return what NOT_OPEN, CLOSED or SESSION_STARTED means for an order of these subjects."""
    if code is Code.NOT_OPEN:
        return RegistrationNotOpen(exam.registration.opens_at_ms)
    if code is Code.CLOSED:
        return RegistrationClosed(exam.registration.closes_at_ms)
    first = exam.first_sitting(subjects)
    return SessionStarted(first.id, first.starts_at_ms)
