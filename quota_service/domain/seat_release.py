"""Seat releases as they are stored, and what a definition may change of them.

The id of a release names it for good: what has happened or was cancelled is not planned again under
it. A definition has the releases that it planned, ops have theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quota_service.domain.definition import Problem, by_quota
from quota_service.domain.exam import MAX_CAPACITY, Announce, Exam, Quota, SeatRelease
from quota_service.domain.timetable import too_late


class ReleaseState(StrEnum):
    """What became of a seat release."""

    PLANNED = "planned"
    DONE = "done"
    CANCELLED = "cancelled"


class ReleaseSource(StrEnum):
    """Who planned a seat release."""

    DEFINITION = "definition"
    OPS = "ops"


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A seat release as Postgres keeps it; times in ms since the epoch, `reason` that of ops."""

    release: SeatRelease
    source: ReleaseSource
    state: ReleaseState
    reason: str | None
    planned_at_ms: int
    ended_at_ms: int | None

    @property
    def is_of_ops(self) -> bool:
        """Whether ops planned it, and it is still to happen."""
        return self.source is ReleaseSource.OPS and self.state is ReleaseState.PLANNED


@dataclass(frozen=True, slots=True)
class ReleaseChanges:
    """What a definition changes: releases that it plans or moves, and the ids that it cancels."""

    planned: tuple[SeatRelease, ...] = ()
    cancelled: tuple[str, ...] = ()


NO_RELEASES = ReleaseChanges()


@dataclass(frozen=True, slots=True)
class Released:
    """The seat releases of an exam, and the seats of each quota that came by those done."""

    releases: Sequence[StoredRelease] = ()
    seats: Mapping[Quota, int] = field(default_factory=dict)


NOTHING_RELEASED = Released()


def release_changes(old: Exam, new: Exam, released: Released) -> ReleaseChanges:
    """Return what changing `old` into `new` does to seat releases, where nothing is against it."""
    before = {release.id: release for release in old.releases}
    states = {each.release.id: each.state for each in released.releases}
    left = before.keys() - {release.id for release in new.releases}
    return ReleaseChanges(
        tuple(
            release
            for release in new.releases
            if release != before.get(release.id)
            and states.get(release.id, ReleaseState.PLANNED) is ReleaseState.PLANNED
        ),
        tuple(sorted(each for each in left if states.get(each) is ReleaseState.PLANNED)),
    )


def release_problems(old: Exam, new: Exam, released: Released) -> Iterator[Problem]:
    """Yield the reasons against changing `old` into `new` that seat releases give."""
    before = {release.id: release for release in old.releases}
    by_id = {each.release.id: each for each in released.releases}
    for release in new.releases:
        known = by_id.get(release.id)
        if known is not None and release != before.get(release.id):
            why = _not_again(known, release)
            if why:
                yield Problem(f"releases.{release.id}", why)
    of_ops = [each.release for each in released.releases if each.is_of_ops]
    for release in of_ops:
        name = f"seat release {release.id}, which ops planned: cancel it first"
        yield from (
            Problem(f"seats.{quota.venue}.{quota.subject}", f"is needed by {name}")
            for quota in sorted(release.seats)
            if quota not in new.seats
        )
        if release.seats.keys() <= new.seats.keys() and (late := too_late(new, release)):
            yield Problem("registration.closes_at", f"is against {name} ({late})")
    ended = {each.release.id for each in released.releases if each.ended_at_ms is not None}
    to_come = [*of_ops, *(release for release in new.releases if release.id not in ended)]
    for quota, seats in more_seats(to_come).items():
        if new.seats.get(quota, 0) + released.seats.get(quota, 0) + seats > MAX_CAPACITY:
            yield Problem(
                f"seats.{quota.venue}.{quota.subject}",
                f"with its seat releases is more than {MAX_CAPACITY}",
            )


def _not_again(known: StoredRelease, release: SeatRelease) -> str:
    if known.source is ReleaseSource.OPS:
        return "is the id of a seat release that ops planned: give another"
    if known.state is ReleaseState.CANCELLED:
        return "was cancelled: give another id"
    if known.state is ReleaseState.DONE and release != known.release:
        return "has happened and cannot change"
    return ""


def release_from(document: Mapping[str, Any]) -> SeatRelease:
    """Return a release from the columns of its row: `id`, `at_ms`, `announce` and `seats`."""
    announce, seats = Announce(document["announce"]), by_quota(document["seats"])
    return SeatRelease(document["id"], document["at_ms"], announce, seats)


def more_seats(releases: Sequence[SeatRelease]) -> dict[Quota, int]:
    """Return the seats of releases together, by quota."""
    seats: dict[Quota, int] = {}
    for release in releases:
        for quota, count in release.seats.items():
            seats[quota] = seats.get(quota, 0) + count
    return seats
