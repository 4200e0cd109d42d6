"""Pause: stops reserving in an exam, at a venue or in a subject, at once and in every process.

What is paused belongs to the definition in force, under a revision of its own (`redefine` has the
steps, and what a crash leaves behind). Of a pause the step in Redis comes first, and the time
it counts from is read after it; of a resumption the time is read first. So no order of a
candidate is taken in between: its `created_at` is not after `since`, or not before the end.

Payments, checkouts, releases and refunds go on, and so does what ops do themselves. A repeat
of an order that was answered gets the same answer. While the exam is paused as a whole the waiting
room admits no candidate (`admit`), and gives no place to those who were admitted (`waiting_room`).
Places and passes are kept over it: their time begins again at its end.

A resumption can extend the live holds by as long as the pause lasted (`extend_holds`): that is
decided in the transaction that ends the pause, and carried out after it.

Redis has to answer: without it no seat is taken anyway, and a pause that is not in force there
would not be exact.
"""

from dataclasses import dataclass, replace

from quota_service.domain.errors import AlreadyPaused, NotPaused
from quota_service.domain.exam import Exam, Pause
from quota_service.domain.extension import Extended
from quota_service.observability.caller import caller
from quota_service.registration.extend_holds import carry_out, check_scope
from quota_service.registration.redefine import put_in_force, redefining, refuse_retired
from quota_service.registration.stores import ExamStores, MaintenanceStores
from quota_service.registration.sync_shard import shard_of


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause that was ended, when (ms by Redis's clock), and the extension of its holds if any."""

    pause: Pause
    until_ms: int
    extended: Extended | None


async def pause_exam(stores: ExamStores, exam_id: str, wanted: Pause) -> Pause:
    """Pause what is wanted, and return it with the time since when it is in force.

    Raises UnknownVenue, UnknownSubject, RegistrationClosed, and AlreadyPaused where exactly this is
    paused already.
    """
    async with redefining(stores, exam_id) as (connection, old):
        exam = old.exam
        check_scope(exam, wanted.venue, wanted.subject)
        refuse_retired(old)
        before = _find(exam, wanted.scope)
        if before is not None:
            raise AlreadyPaused(before)
        revision = await stores.exams.next_revision(connection)
        stores.failpoint("pause: before redis")
        await put_in_force(stores, old, _with_pause(exam, wanted, revision))
        stores.failpoint("pause: in redis")
        pause = replace(wanted, since_ms=await stores.seats.clock_ms(shard_of(old)))
        await stores.exams.set_pauses(connection, _with_pause(exam, pause, revision))
        detail = {"stops_changes": pause.stops_changes, "retry_after_s": pause.retry_after_s}
        await stores.ops_actions.note(
            connection, exam_id, caller(), "pause", pause.scope, pause.reason, detail
        )
        stores.failpoint("pause: before commit")
    stores.failpoint("pause: after commit")
    await stores.registry.refresh()
    return pause


async def resume_exam(
    stores: MaintenanceStores,
    exam_id: str,
    venue: str,
    subject: str,
    reason: str,
    *,
    extend_holds: bool,
) -> Resumed:
    """End the pause of exactly this; without a reason that of the pause is kept with it.

    With `extend_holds` the live holds of its scope are extended by as long as it lasted. Raises
    UnknownVenue, UnknownSubject and NotPaused.
    """
    number = None
    async with redefining(stores, exam_id) as (connection, old):
        exam = old.exam
        pause = _find(exam, Pause.scope_of(venue, subject))
        if pause is None:
            check_scope(exam, venue, subject)
            raise NotPaused(venue, subject)
        until_ms = await stores.seats.clock_ms(shard_of(old))
        paused_ms = max(0, until_ms - pause.since_ms)
        pauses = tuple(each for each in exam.pauses if each is not pause)
        new = replace(
            exam,
            revision=await stores.exams.next_revision(connection),
            pauses=pauses,
            resumed_at_ms=until_ms if pause is exam.whole_pause else exam.resumed_at_ms,
        )
        await stores.exams.set_pauses(connection, new)
        detail = {"paused_ms": paused_ms, "extend_holds": extend_holds}
        action = await stores.ops_actions.note(
            connection, exam_id, caller(), "resume", pause.scope, reason or pause.reason, detail
        )
        if extend_holds and paused_ms:
            number = await stores.extensions.insert(
                connection, exam_id, action, venue, subject, "", paused_ms, until_ms
            )
        stores.failpoint("resume: before redis")
        await put_in_force(stores, old, new)
        stores.failpoint("resume: before commit")
    stores.failpoint("resume: after commit")
    await stores.registry.refresh()
    extended = None if number is None else await carry_out(stores, exam_id, number, paused_ms)
    return Resumed(pause, until_ms, extended)


def _with_pause(exam: Exam, pause: Pause, revision: int) -> Exam:
    pauses = sorted((*exam.pauses, pause), key=lambda each: (each.venue, each.subject))
    return replace(exam, revision=revision, pauses=tuple(pauses))


def _find(exam: Exam, scope: str) -> Pause | None:
    return next((pause for pause in exam.pauses if pause.scope == scope), None)
