"""Close a venue: nothing more is sold there, at once and in every process, and open it again.

What is closed belongs to the definition in force, under a revision of its own:

    1. lock the exam in Postgres
    2. write what is closed, under a new revision, and why; not visible yet
    3. put the new revision in force in Redis: until 4 no seat can be taken by either
    4. commit                                                                   <- the decision

A process that has not heard of it is refused for its stale definition, and reads the exams first.
So no seat there is taken by reserving, by a change of venue or by a late payment from 3 on. Holds
stay and can be paid.

What a crash leaves behind:

    before 3   the venue as it was
    3 to 4     Postgres has the old revision, and Redis has the new one in force; a process refused
               for its stale definition puts the old one in force again (`catch_up`), as do a
               worker, the next import and the same call again
    in 4       Postgres has all of it or nothing; the same
    after 4    closed, also after a rebuild of Redis
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from quota_service.domain.errors import (
    QuotaError,
    RegistrationClosed,
    UnknownExam,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import Exam
from quota_service.ledger.exams import ShardState
from quota_service.observability.caller import caller
from quota_service.registration.import_exam import define, shard_of, sync_shard
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
    stores.registry.find(exam_id)
    try:
        async with stores.ledger.transaction() as connection:
            old = await stores.exams.lock(connection, exam_id)
            if old is None:
                raise UnknownExam(exam_id)
            exam = old.exam
            _check(exam, venue, subjects)
            if old.is_retired:
                raise RegistrationClosed(exam.registration.closes_at_ms)
            detail = {"subjects": list(subjects)}
            await stores.ops_actions.note(
                connection, exam_id, caller(), action, venue, reason, detail
            )
            wanted = closed(exam)
            if wanted == exam.closed:
                return exam
            new = await stores.exams.set_closed(connection, exam, wanted)
            stores.failpoint("close: before redis")
            if old.state is not ShardState.NEW:
                await define(stores, shard_of(old), new)
            stores.failpoint("close: before commit")
    except QuotaError:
        with suppress(QuotaError):  # a worker does it when this fails
            await sync_shard(stores, exam_id)
        raise
    stores.failpoint("close: after commit")
    await stores.registry.refresh()
    return new


def _check(exam: Exam, venue: str, subjects: Sequence[str]) -> None:
    if venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    for i, subject in enumerate(subjects):
        if subject not in exam.session_of:
            raise UnknownSubject(subject, f"subjects[{i}]")
