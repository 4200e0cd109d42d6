"""Whether the windows and the sittings of a definition go together.

A typing error of a year is refused: of a session that begins before registration opens no seat
could ever be reserved. What can be meant is a warning: registration that goes on for later sittings
while the first has begun, refunds after a sitting, and sessions at the same time, of which a
candidate can reserve both. Seats that come when nobody can reserve them any more are refused, and
so are those kept for a group until after the sitting, or only until registration opens.
"""

from collections.abc import Iterator
from itertools import combinations

from quota_service.domain.definition import Problem, rfc3339
from quota_service.domain.exam import Exam, SeatRelease


def contradictions(exam: Exam) -> list[Problem]:
    """Return what cannot be meant; places are named by ids, as in `changes`."""
    opens_at_ms = exam.registration.opens_at_ms
    early = [
        Problem(
            f"sessions.{session.id}.starts_at",
            f"{rfc3339(session.starts_at_ms)} is before registration opens "
            f"({rfc3339(opens_at_ms)}): none of its seats could be reserved",
        )
        for session in exam.sessions
        if session.starts_at_ms <= opens_at_ms
    ]
    releases = (
        Problem(f"releases.{release.id}.at", why)
        for release in exam.releases
        if (why := too_late(exam, release))
    )
    return [*early, *releases, *_set_asides(exam), *_late_source(exam)]


def too_late(exam: Exam, release: SeatRelease) -> str:
    """Return why nobody could reserve the seats of a release by its time; empty where they can."""
    at, closes_at_ms = rfc3339(release.at_ms), exam.registration.closes_at_ms
    if release.at_ms >= closes_at_ms:
        return f"{at} is not before registration closes ({rfc3339(closes_at_ms)})"
    session = exam.first_sitting(quota.subject for quota in release.seats)
    if release.at_ms >= session.starts_at_ms:
        return f"{at} is not before session {session.id} begins ({rfc3339(session.starts_at_ms)})"
    return ""


def _set_asides(exam: Exam) -> Iterator[Problem]:
    opens_at_ms = exam.registration.opens_at_ms
    for kept in exam.set_asides:
        where, until = f"set_asides.{kept.id}.until", rfc3339(kept.until_ms)
        session = exam.first_sitting(quota.subject for quota in kept.seats)
        if kept.until_ms <= opens_at_ms:
            opens = f"registration opens ({rfc3339(opens_at_ms)}): nobody could reserve them"
            yield Problem(where, f"{until} is not after {opens}")
        elif kept.until_ms > session.starts_at_ms:
            begins = f"session {session.id} begins ({rfc3339(session.starts_at_ms)})"
            yield Problem(where, f"{until} is after {begins}")


def _late_source(exam: Exam) -> Iterator[Problem]:
    source = None if exam.waiting_room is None else exam.waiting_room.source
    opens_at_ms = exam.registration.opens_at_ms
    if source is not None and source.at_ms >= opens_at_ms:
        yield Problem(
            "waiting_room.source.at",
            f"{rfc3339(source.at_ms)} is not before registration opens ({rfc3339(opens_at_ms)}): "
            "no candidate could be admitted then",
        )


def warnings(exam: Exam) -> list[Problem]:
    """Return what may be meant, and ops should look at."""
    return [*_late_windows(exam), *_overlaps(exam), *_kept_to_the_end(exam)]


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


def _kept_to_the_end(exam: Exam) -> Iterator[Problem]:
    closes_at_ms = exam.registration.closes_at_ms
    for kept in exam.set_asides:
        if kept.until_ms >= closes_at_ms:
            yield Problem(
                f"set_asides.{kept.id}.until",
                f"{rfc3339(kept.until_ms)} is not before registration closes "
                f"({rfc3339(closes_at_ms)}): what is left of its seats goes to nobody else",
            )
