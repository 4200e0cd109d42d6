"""What the answers of all resources share: their field types.

The models of answers are typed dicts beside the handlers that return them, and the schemas of the
OpenAPI document. The types hold what is rendered to them; nothing is checked at run time. Members
may be added to answers later: a client ignores members it does not know.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.domain.reservation import RESERVATION_ID
from quota_service.schema import (
    EXAM_EXAMPLE,
    RESERVATION_EXAMPLE,
    UTC_TIME,
    Identifier,
    Matching,
    example,
)

Time = Annotated[str, WithJsonSchema(UTC_TIME)]
Rank = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "note": "64 hex digits, which compare as strings as they do as numbers.",
            "examples": ["43" * 32],
        }
    ),
]
"""A rank in the draw, a threshold for ranks, or what is as long."""
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Amount = Annotated[Count, example(16000)]
"""In minor units."""
ReservationId = Annotated[
    str,
    Matching(RESERVATION_ID, "the id of a reservation"),
    Field(description="Id of the reservation: exam, shard and serial, separated by dots."),
    example(RESERVATION_EXAMPLE),
]
NamedReservation = Annotated[str, example(RESERVATION_EXAMPLE)]
"""A reservation as a payment named it, which may be none of ours."""
ProviderReference = Annotated[str, example("4200001878202303141234567890")]
ExamId = Annotated[Identifier, Field(description="Id of the exam."), example(EXAM_EXAMPLE)]
VenueId = Annotated[Identifier, Field(description="Id of the venue."), example("jinan")]
SubjectId = Annotated[Identifier, Field(description="Id of the subject."), example("general")]
AVenueId = Annotated[Identifier, Field(description="Id of a venue."), example("jinan")]
ASubjectId = Annotated[Identifier, Field(description="Id of a subject."), example("general")]
SeatCount = Annotated[int, Field(ge=0, le=MAX_CAPACITY)]
Next = Annotated[str | None, Field(description="`after` of the next page; null on the last.")]


@with_config(ConfigDict(use_attribute_docstrings=True))
class Answer(TypedDict):
    """A JSON object that is answered."""


def time_or_none(ms: int | None) -> str | None:
    """Return a time that may not have come, as it is answered."""
    return None if ms is None else rfc3339(ms)
