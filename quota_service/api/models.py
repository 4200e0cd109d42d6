"""What the models of all resources share: field types of answers, and the reader of bodies.

A model is a typed dict beside the handlers that read or return it, and is its schema in the OpenAPI
document. Bodies are strict JSON of known members, and everything that is wrong is named at once.
They are typed dicts because orders and payments come by the thousand a second and an instance of a
class takes as long to make as its members take to check. Of answers the types hold what is rendered
to them and nothing is checked at run time. Members may be added to answers later: a client ignores
members it does not know.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema, with_config
from typing_extensions import TypedDict

from quota_service.domain.candidate import is_resident_id
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.domain.reservation import RESERVATION_ID
from quota_service.http.errors import InvalidRequest, MalformedJson
from quota_service.http.request import Request
from quota_service.schema import (
    EXAM_EXAMPLE,
    RESERVATION_EXAMPLE,
    UTC_TIME,
    CandidateId,
    Fault,
    Identifier,
    Matching,
    Meaning,
    Reason,
    example,
    faults,
)

ID_MAX = 64
"""Characters of an id that is looked up."""
LIST_MAX = 32
"""Ids of one list."""
_Body = TypeVar("_Body")
STRICT: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""How bodies are read that may have no unknown members."""

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
    Field(description="Id of the reservation: exam, 0 and serial, separated by dots."),
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
Id = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=ID_MAX),
    Meaning(f"an id of 1 to {ID_MAX} characters"),
]
"""An id that is looked up; one of another form is unknown."""


@with_config(ConfigDict(use_attribute_docstrings=True))
class Answer(TypedDict):
    """A JSON object that is answered."""


def time_or_none(ms: int | None) -> str | None:
    """Return an optional time as it is answered."""
    return None if ms is None else rfc3339(ms)


@with_config(STRICT)
class Nothing(TypedDict):
    """This call takes no members."""


@with_config(STRICT)
class _Candidate(TypedDict):
    candidate: CandidateId


@with_config(STRICT)
class _Reason(TypedDict):
    reason: Reason


class Reader(Generic[_Body]):
    """Reads bodies by a model; `check` finds what the model cannot say, in any document."""

    def __init__(
        self,
        model: type[_Body],
        check: Callable[[Mapping[str, Any]], list[Fault]] = lambda _: [],
        *,
        is_open: bool = False,
    ) -> None:
        self._validate = TypeAdapter(model).validator.validate_python
        self._members = list(model.__annotations__)
        self._members_max = sys.maxsize if is_open else len(self._members)
        self._check = check

    def read(self, document: Mapping[str, Any]) -> _Body:
        """Return the body by the model; InvalidRequest with all that is wrong, by `check` too."""
        if len(document) > self._members_max:
            raise self.refusal(document)
        try:
            body: _Body = self._validate(document)
        except ValidationError as error:
            raise self.refusal(document) from error
        return body

    def refusal(self, document: Mapping[str, Any]) -> InvalidRequest:
        """Return the error with each fault by its field, such as `subjects[1]`, in order.

        Unknown members, of which a body can have many, are found by their names alone.
        """
        found = self._check(document)
        try:
            self._validate({name: document[name] for name in self._members if name in document})
        except ValidationError as error:
            found = [*faults(error), *found]
        found.sort(
            key=lambda fault: (self._members.index(str(fault.location[0])), *fault.location[1:])
        )
        wrong = []
        for fault in found:
            member, *positions = fault.location
            wrong.append((f"{member}{''.join(map(_step, positions))}", fault.detail))
        if self._members_max < sys.maxsize:
            unknown = (name for name in document if name not in self._members)
            wrong += [(name[:ID_MAX], "is not a member this request has") for name in unknown]
        return InvalidRequest(wrong)


def _step(position: int | str) -> str:
    """Return a step of a path: a position in a list, or a key; that it is the key goes unsaid."""
    if isinstance(position, int):
        return f"[{position}]"
    return "" if position == "[key]" else f".{position[:ID_MAX]}"


_NOTHING: Final = Reader(Nothing)
_CANDIDATE: Final = Reader(_Candidate)
_REASON: Final = Reader(_Reason)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; MalformedJson, or InvalidRequest for other JSON."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequest([("body", "must be a JSON object")])
    return document


def refuse_members(body: bytes) -> None:
    """Refuse a body with members: the call takes none."""
    if body.strip():
        _NOTHING.read(parse_object(body))


class NationalIdRefused(InvalidRequest):
    """The candidate id is a resident ID number; the number itself is never repeated."""

    slug = "national-id-refused"

    def __init__(self) -> None:
        super().__init__([("candidate", "is a resident ID number; send an opaque id of your own")])


def refuse_resident_id(candidate: str) -> None:
    """Raise NationalIdRefused for a resident ID."""
    if is_resident_id(candidate):
        raise NationalIdRefused


def refuse_bad_candidate(value: str) -> None:
    """Raise InvalidRequest for what is no candidate id, NationalIdRefused for a resident ID."""
    _CANDIDATE.read({"candidate": value})
    refuse_resident_id(value)


def reason_given(request: Request) -> str:
    """Return the reason of an act of ops that need not have one, from `?reason=`; "" without."""
    reason = request.read_query().get("reason")
    return "" if reason is None else _REASON.read({"reason": reason})["reason"]


def refuse_unprintable(header: str, value: str, longest: int) -> None:
    """Raise InvalidRequest for a header that is too long or not printable ASCII."""
    if len(value) > longest or not (value.isascii() and value.isprintable()):
        raise InvalidRequest([(header, f"must be 1 to {longest} printable ASCII characters")])
