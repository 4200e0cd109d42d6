"""What is public of seat releases to come: each tells what ops or the definition announce of it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NotRequired

from quota_service.api.models import Answer, AVenueId, Positive, Time
from quota_service.domain.definition import rfc3339, seats_document
from quota_service.domain.exam import Announce, SeatRelease
from quota_service.schema import Identifier, example


class AnnouncedRelease(Answer):
    """More seats at a time, as far as is announced."""

    id: Annotated[Identifier, example("evening")]
    """Id of the seat release."""
    at: Time
    """When the seats come."""
    venues: NotRequired[Annotated[Sequence[AVenueId], example(["jinan"])]]
    """Where they come, by id; absent where only the time is announced."""
    seats: NotRequired[
        Annotated[Mapping[str, Mapping[str, Positive]], example({"jinan": {"general": 50}})]
    ]
    """The seats, by venue and subject; absent where they are not announced."""


def announced_json(release: SeatRelease) -> AnnouncedRelease:
    """Return what is announced of a seat release."""
    told: AnnouncedRelease = {"id": release.id, "at": rfc3339(release.at_ms)}
    if release.announce is not Announce.TIME:
        told["venues"] = sorted({quota.venue for quota in release.seats})
    if release.announce is Announce.EVERYTHING:
        told["seats"] = seats_document(release.seats)
    return told
