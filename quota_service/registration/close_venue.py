"""Close a venue: nothing more is sold there, at once and in every process, and open it again.

What is closed belongs to the definition in force, under a revision of its own (`redefine` has the
steps, and what a crash leaves behind). So no seat there is taken by reserving, by a change of venue
or by a late payment from the step in Redis on. Holds stay and can be paid.
"""

from collections.abc import Callable, Sequence

from quota_service.domain.errors import UnknownSubject, UnknownVenue
from quota_service.domain.exam import Exam
from quota_service.observability.caller import caller
from quota_service.registration.redefine import put_in_force, redefining, refuse_retired
from quota_service.registration.stores import ExamStores


async def close_venue(
    stores: ExamStores, exam_id: str, venue: str, subjects: Sequence[str], reason: str
) -> Exam:
    """Close subjects of a venue, all where none is named; return the exam as it is now."""

    def closed(exam: Exam) -> frozenset[str]:
        if not subjects:
            return exam.open_again(venue, ()) | {venue}
        if venue in exam.closed:
            return exam.closed
        return exam.closed | {f"{venue}/{subject}" for subject in subjects}

    return await _set(stores, exam_id, venue, subjects, "close-venue", reason, closed)


async def open_venue(
    stores: ExamStores, exam_id: str, venue: str, subjects: Sequence[str], reason: str
) -> Exam:
    """Open subjects of a venue again, all where none is named; return the exam as it is now."""

    def closed(exam: Exam) -> frozenset[str]:
        return exam.open_again(venue, subjects)

    return await _set(stores, exam_id, venue, subjects, "open-venue", reason, closed)


async def _set(  # noqa: PLR0917  both callers name all of it
    stores: ExamStores,
    exam_id: str,
    venue: str,
    subjects: Sequence[str],
    action: str,
    reason: str,
    closed: Callable[[Exam], frozenset[str]],
) -> Exam:
    """Decide what is closed; doing it again changes nothing, and is noted all the same."""
    async with redefining(stores, exam_id) as (connection, old):
        exam = old.exam
        _check(exam, venue, subjects)
        refuse_retired(old)
        detail = {"subjects": list(subjects)}
        await stores.ops_actions.note(connection, exam_id, caller(), action, venue, reason, detail)
        wanted = closed(exam)
        if wanted == exam.closed:
            return exam
        new = await stores.exams.set_closed(connection, exam, wanted)
        stores.failpoint("close: before redis")
        await put_in_force(stores, old, new)
        stores.failpoint("close: before commit")
    stores.failpoint("close: after commit")
    await stores.registry.refresh()
    return new


def _check(exam: Exam, venue: str, subjects: Sequence[str]) -> None:
    if venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    for i, subject in enumerate(subjects):
        if subject not in exam.session_of:
            raise UnknownSubject(subject, f"subjects[{i}]")
