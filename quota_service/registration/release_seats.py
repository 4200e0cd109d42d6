"""Seat releases: planned and cancelled by ops, and carried out when their time has come.

A release is carried out once, Postgres first:

    1. lock the exam in Postgres; go on only where the release is still planned
    2. mark it done and raise its quotas, under a new revision of the exam
    3. commit                                                                   <- the decision
    4. give Redis the capacities that Postgres has: the seats go where the rule for returned seats
       sends them
    5. mark it applied; where seats are dealt out, in the same step ask for a dealing

What a crash leaves behind:

    before 3   a release that is planned; a worker begins again
    in 3       Postgres has all of it or nothing; the same
    3 to 5     a release that is done and not applied: Redis has fewer seats than Postgres, or
               nobody has asked for the dealing; a worker does 4 and 5, which can be done again

Planning and cancelling write Postgres alone, under a new revision, so that every process reads the
exam and its announced releases again. Redis gets the revision at once, or from the next process
that is refused for a stale definition (`catch_up`).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.errors import (
    QuotaError,
    RegistrationClosed,
    ReleaseDone,
    ReleaseExists,
    ReleasePast,
    ReleaseTooLate,
    TooManyReleases,
    TooManySeats,
    UnknownQuota,
    UnknownRelease,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import MAX_CAPACITY, Exam, ReturnRule, SeatRelease
from quota_service.domain.seat_release import (
    ReleaseSource,
    ReleaseState,
    StoredRelease,
    more_seats,
)
from quota_service.domain.timetable import too_late
from quota_service.ledger.seat_releases import UnfinishedRelease
from quota_service.observability.caller import caller
from quota_service.registration.redefine import redefining
from quota_service.registration.stores import ExamStores
from quota_service.registration.sync_shard import sync_shard

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

log = logging.getLogger(__name__)

PLANNED_MAX = 100
"""Seat releases of an exam that are planned at once."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A seat release as it is stored; `is_repeat` where the same was planned before."""

    release: StoredRelease
    is_repeat: bool = False


async def list_releases(stores: ExamStores, exam_id: str) -> Sequence[StoredRelease]:
    """Return all seat releases of an exam, by time."""
    stores.registry.find(exam_id)
    async with stores.ledger.connection() as connection:
        return await stores.seat_releases.of_exam(connection, exam_id)


async def find_release(stores: ExamStores, exam_id: str, release_id: str) -> StoredRelease:
    """Return one seat release of an exam; raises UnknownRelease."""
    return _found(await list_releases(stores, exam_id), release_id)


async def plan_release(
    stores: ExamStores, exam_id: str, release: SeatRelease, reason: str
) -> Planned:
    """Plan a seat release; the same again is answered as it is now."""
    now_ms = await stores.seats.clock_ms()
    async with redefining(stores, exam_id) as (connection, stored):
        releases = await stores.seat_releases.of_exam(connection, exam_id)
        known = next((each for each in releases if each.release.id == release.id), None)
        if known is not None:
            if _is_same(known, release, reason):
                return Planned(known, is_repeat=True)
            raise ReleaseExists(release.id)
        _check(stored.exam, release, now_ms)
        await _check_room(stores, connection, stored.exam, [*_to_come(releases), release])
        await stores.seat_releases.plan(connection, exam_id, release, caller(), reason)
        detail = {"at_ms": release.at_ms, "seats": sum(release.seats.values())}
        await stores.ops_actions.note(
            connection, exam_id, caller(), "plan-release", release.id, reason, detail
        )
        await stores.exams.touch(connection, exam_id)
        releases = await stores.seat_releases.of_exam(connection, exam_id)
        stores.failpoint("plan release: before commit")
    stores.failpoint("plan release: after commit")
    await _tell(stores, exam_id)
    return Planned(_found(releases, release.id))


async def cancel_release(
    stores: ExamStores, exam_id: str, release_id: str, reason: str
) -> StoredRelease:
    """Let a planned release not happen; one that is cancelled stays so. Raises ReleaseDone."""
    async with redefining(stores, exam_id) as (connection, _):
        known = _found(await stores.seat_releases.of_exam(connection, exam_id), release_id)
        if known.state is ReleaseState.DONE:
            raise ReleaseDone(release_id)
        if known.state is ReleaseState.CANCELLED:
            return known
        await stores.seat_releases.cancel(connection, exam_id, [release_id])
        await stores.ops_actions.note(
            connection, exam_id, caller(), "cancel-release", release_id, reason, {}
        )
        await stores.exams.touch(connection, exam_id)
        releases = await stores.seat_releases.of_exam(connection, exam_id)
        stores.failpoint("cancel release: before commit")
    stores.failpoint("cancel release: after commit")
    await _tell(stores, exam_id)
    return _found(releases, release_id)


async def carry_out(stores: ExamStores, due: UnfinishedRelease, now_ms: Callable[[], int]) -> int:
    """Do what is left of a release whose time has come; return the seats that came in Postgres.

    Of a retired exam, which has left Redis since, it is cancelled.
    """
    seats = 0
    async with redefining(stores, due.exam) as (connection, stored):
        releases = await stores.seat_releases.of_exam(connection, due.exam)
        release = _found(releases, due.id)
        if release.state is ReleaseState.PLANNED:
            if stored.is_retired:
                await stores.seat_releases.cancel(connection, due.exam, [due.id])
            else:
                await stores.seat_releases.execute(connection, due.exam, [due.id])
                seats = sum(release.release.seats.values())
            await stores.exams.touch(connection, due.exam)
        elif release.state is ReleaseState.CANCELLED:
            return 0
        stores.failpoint("release: before commit")
    stores.failpoint("release: after commit")
    if seats:
        log.info("seats released", extra={"exam": due.exam, "release": due.id, "seats": seats})
    if not stored.is_retired:
        await sync_shard(stores, due.exam)
    stores.failpoint("release: after redis")
    await mark_applied(stores, stored.exam, [due.id])
    stores.metrics.seats_released.labels(exam=due.exam).inc(seats)
    stores.metrics.release_lag.observe(max(0, now_ms() - due.at_ms) / 1000)
    await stores.registry.refresh()
    return seats


async def mark_applied(stores: ExamStores, exam: Exam, releases: Sequence[str]) -> None:
    """Note that Redis has the seats of releases; where seats are dealt out, a dealing is due."""
    if releases:
        is_dealt = exam.returned.rule is not ReturnRule.AT_ONCE
        await stores.seat_releases.mark_applied(exam.id, releases, is_dealt=is_dealt)


async def _tell(stores: ExamStores, exam_id: str) -> None:
    """Give Redis the new revision of an exam, and read it; `catch_up` does so if this fails."""
    with suppress(QuotaError):
        await sync_shard(stores, exam_id)
        await stores.registry.refresh()


def _found(releases: Sequence[StoredRelease], release_id: str) -> StoredRelease:
    for each in releases:
        if each.release.id == release_id:
            return each
    raise UnknownRelease(release_id)


def _is_same(known: StoredRelease, release: SeatRelease, reason: str) -> bool:
    is_of_ops = known.source is ReleaseSource.OPS
    return is_of_ops and (known.release, known.reason) == (release, reason)


def _to_come(releases: Sequence[StoredRelease]) -> list[SeatRelease]:
    return [each.release for each in releases if each.state is ReleaseState.PLANNED]


def _check(exam: Exam, release: SeatRelease, now_ms: int) -> None:
    """Raise the refusal of what of a release makes no sense in its exam."""
    for quota in sorted(release.seats):
        where = f"seats.{quota.venue}"
        if quota.venue not in exam.venue_ids:
            raise UnknownVenue(quota.venue, where)
        if quota.subject not in exam.session_of:
            raise UnknownSubject(quota.subject, f"{where}.{quota.subject}")
        if quota not in exam.seats:
            raise UnknownQuota(str(quota), f"{where}.{quota.subject}")
    if exam.registration.closes_at_ms <= now_ms:
        raise RegistrationClosed(exam.registration.closes_at_ms)
    if release.at_ms <= now_ms:
        raise ReleasePast
    if why := too_late(exam, release):
        raise ReleaseTooLate(why)


async def _check_room(
    stores: ExamStores, connection: "Connection", exam: Exam, planned: Sequence[SeatRelease]
) -> None:
    """Raise the refusal of more releases, or of more seats, than there may be."""
    if len(planned) > PLANNED_MAX:
        raise TooManyReleases(PLANNED_MAX)
    capacity = await stores.exams.capacity(connection, exam.id)
    for quota, seats in more_seats(planned).items():
        if capacity.get(quota, 0) + seats > MAX_CAPACITY:
            raise TooManySeats(str(quota), MAX_CAPACITY, f"seats.{quota.venue}.{quota.subject}")
