"""Whether the windows and the sittings of a definition go together.

A typing error of a year is refused: of a session that begins before registration opens no seat
could ever be reserved. What can be meant is a warning: registration that goes on for later sittings
while the first has begun, refunds after a sitting, and sessions at the same time, of which a
candidate can reserve both.
"""

from collections.abc import Iterator
from itertools import combinations

from quota_service.domain.definition import Problem, rfc3339
from quota_service.domain.exam import Exam


def contradictions(exam: Exam) -> list[Problem]:
    """Return what cannot be meant; places are named by ids, as in `changes`."""
    opens_at_ms = exam.registration.opens_at_ms
    return [
        Problem(
            f"sessions.{session.id}.starts_at",
            f"{rfc3339(session.starts_at_ms)} is before registration opens "
            f"({rfc3339(opens_at_ms)}): none of its seats could be reserved",
        )
        for session in exam.sessions
        if session.starts_at_ms <= opens_at_ms
    ]


def warnings(exam: Exam) -> list[Problem]:
    """Return what may be meant, and ops should look at."""
    return [*_late_windows(exam), *_overlaps(exam)]


def _late_windows(exam: Exam) -> Iterator[Problem]:
    first = min(exam.sessions, key=lambda session: session.starts_at_ms)
    starts = f"session {first.id} begins ({rfc3339(first.starts_at_ms)})"
    if exam.registration.closes_at_ms > first.starts_at_ms:
        closes = rfc3339(exam.registration.closes_at_ms)
        yield Problem(
            "registration.closes_at",
            f"{closes} is after {starts}: its seats cannot be reserved from then on",
        )
    if exam.refund.closes_at_ms > first.starts_at_ms:
        closes = rfc3339(exam.refund.closes_at_ms)
        yield Problem(
            "refund.closes_at",
            f"{closes} is after {starts}: a candidate who sat it can have a refund",
        )


def _overlaps(exam: Exam) -> Iterator[Problem]:
    in_order = sorted(exam.sessions, key=lambda session: (session.starts_at_ms, session.id))
    for earlier, later in combinations(in_order, 2):
        if later.starts_at_ms < earlier.ends_at_ms:
            yield Problem(
                f"sessions.{later.id}.starts_at",
                f"begins before session {earlier.id} ends ({rfc3339(earlier.ends_at_ms)}): "
                "a candidate can reserve both",
            )
