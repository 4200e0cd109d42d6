"""Pause: stops reserving in an exam, at a venue or in a subject, at once and in every process.

What is paused belongs to the definition in force, under a revision of its own (`redefine` has the
steps, and what a crash leaves behind). Of a pause the step in Redis comes first, and the time
it counts from is read after it; of a resumption the time is read first. So no order of a
candidate is taken in between: its `created_at` is not after `since`, or not before the end.

Payments, checkouts, releases and refunds go on, and so does what ops do themselves. Who repeats an
order that was answered gets the same answer. While the exam is paused as a whole the waiting room
admits no candidate (`admit`), and gives no place to those who were admitted (`waiting_room`).

Redis has to answer: without it no seat is taken anyway, and a pause that is not in force there
would not be exact.
"""

from dataclasses import dataclass, replace

from quota_service.domain.errors import (
    AlreadyPaused,
    NotPaused,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import Exam, Pause
from quota_service.observability.caller import caller
from quota_service.registration.import_exam import shard_of
from quota_service.registration.redefine import put_in_force, redefining, refuse_retired
from quota_service.registration.stores import ExamStores


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause that was ended, and when (ms by Redis's clock)."""

    pause: Pause
    until_ms: int


async def pause_exam(stores: ExamStores, exam_id: str, wanted: Pause) -> Pause:
    """Pause what is wanted, and return it with the time since when it is in force.

    Raises UnknownVenue, UnknownSubject, RegistrationClosed, and AlreadyPaused where exactly this is
    paused already.
    """
    async with redefining(stores, exam_id) as (connection, old):
        exam = old.exam
        _check(exam, wanted.venue, wanted.subject)
        refuse_retired(old)
        before = _find(exam, wanted.scope)
        if before is not None:
            raise AlreadyPaused(before)
        new = replace(exam, revision=await stores.exams.next_revision(connection))
        stores.failpoint("pause: before redis")
        await put_in_force(stores, old, new)
        stores.failpoint("pause: in redis")
        pause = replace(wanted, since_ms=await stores.seats.clock_ms(shard_of(old)))
        pauses = sorted((*exam.pauses, pause), key=lambda each: (each.venue, each.subject))
        await stores.exams.set_pauses(connection, replace(new, pauses=tuple(pauses)))
        detail = {"stops_changes": pause.stops_changes, "retry_after_s": pause.retry_after_s}
        await stores.ops_actions.note(
            connection, exam_id, caller(), "pause", pause.scope, pause.reason, detail
        )
        stores.failpoint("pause: before commit")
    stores.failpoint("pause: after commit")
    await stores.registry.refresh()
    return pause


async def resume_exam(
    stores: ExamStores, exam_id: str, venue: str, subject: str, reason: str
) -> Resumed:
    """End the pause of exactly this; without a reason that of the pause is kept with it.

    Raises UnknownVenue, UnknownSubject and NotPaused.
    """
    scope = Pause.scope_of(venue, subject)
    async with redefining(stores, exam_id) as (connection, old):
        exam = old.exam
        pause = _find(exam, scope)
        if pause is None:
            _check(exam, venue, subject)
            raise NotPaused(venue, subject)
        until_ms = await stores.seats.clock_ms(shard_of(old))
        pauses = tuple(each for each in exam.pauses if each is not pause)
        new = replace(exam, revision=await stores.exams.next_revision(connection), pauses=pauses)
        await stores.exams.set_pauses(connection, new)
        detail = {"paused_ms": max(0, until_ms - pause.since_ms)}
        await stores.ops_actions.note(
            connection, exam_id, caller(), "resume", scope, reason or pause.reason, detail
        )
        stores.failpoint("resume: before redis")
        await put_in_force(stores, old, new)
        stores.failpoint("resume: before commit")
    stores.failpoint("resume: after commit")
    await stores.registry.refresh()
    return Resumed(pause, until_ms)


def _find(exam: Exam, scope: str) -> Pause | None:
    return next((pause for pause in exam.pauses if pause.scope == scope), None)


def _check(exam: Exam, venue: str, subject: str) -> None:
    if venue and venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    if subject and subject not in exam.session_of:
        raise UnknownSubject(subject)
