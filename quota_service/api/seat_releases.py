"""Seat releases: more seats for an exam at a time, planned, listed and cancelled by ops."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import with_config
from typing_extensions import TypedDict

from quota_service.api.acting import REASONED
from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    ExamId,
    Positive,
    Reader,
    Time,
    parse_object,
    time_or_none,
)
from quota_service.api.payments import Instant
from quota_service.definitions.allocation import Announced, MoreSeats
from quota_service.domain.definition import by_quota, rfc3339, seats_document
from quota_service.domain.exam import Announce
from quota_service.domain.exam import SeatRelease as DefinedRelease
from quota_service.domain.seat_release import ReleaseSource, ReleaseState, StoredRelease
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.release_seats import (
    cancel_release,
    find_release,
    list_releases,
    plan_release,
)
from quota_service.schema import Identifier, OneOf, Reason, example

BODY_MAX_BYTES = 1024 * 1024
"""More than the quotas of one release take."""
RELEASE_EXAMPLE: Final = "evening"
RELEASE_AT_EXAMPLE: Final = "2023-03-14T12:00:00.000Z"
ReleaseId = Annotated[Identifier, example(RELEASE_EXAMPLE)]


@with_config(STRICT)
class NewSeatRelease(TypedDict):
    """More seats, when they come, and what is public of it before."""

    id: ReleaseId
    """Your id for it, never used again: a repeat with the same body changes nothing."""
    at: Annotated[Instant, example(RELEASE_AT_EXAMPLE)]
    """When the seats come: RFC 3339 with any offset, later than now."""
    announce: Annotated[Announced, example("time-and-venues")]
    """What is public before: `time`, `time-and-venues`, `everything` or `nothing`."""
    seats: Annotated[MoreSeats, example({"jinan": {"general": 50}})]
    """Seats that are added, by venue and subject; 10,000 quotas at most."""
    reason: Reason


class SeatRelease(Answer):
    """A seat release, as ops see it."""

    exam: ExamId
    id: ReleaseId
    """Id of the seat release."""
    at: Time
    """When the seats come, or came."""
    announce: Announced
    """What is public before."""
    seats: Annotated[Mapping[str, Mapping[str, Positive]], example({"jinan": {"general": 50}})]
    """Seats that are added, by venue and subject."""
    source: Annotated[str, OneOf(*ReleaseSource)]
    """Who planned it: `definition` or `ops`."""
    state: Annotated[str, OneOf(*ReleaseState)]
    """`planned`, `done`, or `cancelled`."""
    reason: Annotated[str | None, example("burst pipe, told by the venue on 13 March")]
    """Why ops planned it; null for one of the definition."""
    planned_at: Time
    """When it was planned, or changed by a definition."""
    ended_at: Time | None
    """When it happened or was cancelled; null while it is planned."""


class SeatReleases(Answer):
    """The seat releases of an exam."""

    exam: ExamId
    releases: Sequence[SeatRelease]
    """All of them, by time."""


NEW_RELEASE: Final = Reader(NewSeatRelease)


async def post_release(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/seat-releases."""
    # The largest takes a tenth of a second to read, in a thread, so that no request waits for it.
    body = await asyncio.to_thread(lambda: NEW_RELEASE.read(parse_object(request.body)))
    exam = request.params["exam"]
    planned = await plan_release(context.stores, exam, release_in(body), body["reason"])
    replayed = (("Idempotency-Replayed", "true"),) if planned.is_repeat else ()
    return Response.json(release_json(exam, planned.release), 201, headers=replayed)


async def get_releases(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/seat-releases."""
    exam = request.params["exam"]
    releases = await list_releases(context.stores, exam)
    answer: SeatReleases = {
        "exam": exam,
        "releases": [release_json(exam, each) for each in releases],
    }
    return Response.json(answer)


async def get_release(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/seat-releases/{release}."""
    exam, release = request.params["exam"], request.params["release"]
    return Response.json(release_json(exam, await find_release(context.stores, exam, release)))


async def delete_release(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/exams/{exam}/seat-releases/{release}."""
    reason = REASONED.read(dict(request.read_query()))["reason"]
    exam, release = request.params["exam"], request.params["release"]
    return Response.json(
        release_json(exam, await cancel_release(context.stores, exam, release, reason))
    )


def release_in(body: NewSeatRelease) -> DefinedRelease:
    """Return the seat release that a body describes."""
    return DefinedRelease(
        body["id"], body["at"], Announce(body["announce"]), by_quota(body["seats"])
    )


def release_json(exam: str, stored: StoredRelease) -> SeatRelease:
    """Return a seat release as it is answered."""
    release = stored.release
    return {
        "exam": exam,
        "id": release.id,
        "at": rfc3339(release.at_ms),
        "announce": release.announce.value,
        "seats": seats_document(release.seats),
        "source": stored.source.value,
        "state": stored.state.value,
        "reason": stored.reason,
        "planned_at": rfc3339(stored.planned_at_ms),
        "ended_at": time_or_none(stored.ended_at_ms),
    }
