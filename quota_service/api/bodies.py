"""Reads request bodies: strict JSON, by the model that is also its schema in the OpenAPI document.

Members are known ones, and everything that is wrong is named at once. The models are typed dicts
beside the handlers, because orders and payments come by the thousand a second and an instance of a
class takes as long to make as its members take to check.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from quota_service.api.errors import (
    InvalidRequest,
    MalformedJson,
    NationalIdRefused,
    PayloadTooLarge,
)
from quota_service.domain.candidate import is_resident_id
from quota_service.schema import CandidateId, Fault, Meaning, faults

ID_MAX = 64
"""Characters of an id that is looked up."""
LIST_MAX = 32
"""Ids of one list."""

_Body = TypeVar("_Body")
STRICT: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""How bodies are read that may have no unknown members."""

Id = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=ID_MAX),
    Meaning(f"an id of 1 to {ID_MAX} characters"),
]
"""An id that is looked up; one of another form is unknown."""


@with_config(STRICT)
class Nothing(TypedDict):
    """This call takes no members."""


@with_config(STRICT)
class _Candidate(TypedDict):
    candidate: CandidateId


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

        Unknown members, of which a body can have many, are told from the names alone.
        """
        found = self._check(document)
        try:
            self._validate({name: document[name] for name in self._members if name in document})
        except ValidationError as error:
            found = [*faults(error), *found]
        found.sort(key=lambda fault: (self._members.index(str(fault.place[0])), *fault.place[1:]))
        wrong = []
        for fault in found:
            member, *positions = fault.place
            wrong.append((f"{member}{''.join(f'[{each}]' for each in positions)}", fault.detail))
        if self._members_max < sys.maxsize:
            unknown = (name for name in document if name not in self._members)
            wrong += [(name[:ID_MAX], "is not a member this request has") for name in unknown]
        return InvalidRequest(wrong)


_NOTHING: Final = Reader(Nothing)
_CANDIDATE: Final = Reader(_Candidate)


def within(body: bytes, max_bytes: int) -> bytes:
    """Return a body that is within the limit; PayloadTooLarge otherwise."""
    if len(body) > max_bytes:
        raise PayloadTooLarge(max_bytes)
    return body


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
    """Refuse a body that says anything: the call has nothing to be told."""
    if body.strip():
        _NOTHING.read(parse_object(body))


def refuse_resident_id(candidate: str) -> None:
    """Raise NationalIdRefused for a resident ID."""
    if is_resident_id(candidate):
        raise NationalIdRefused


def refuse_bad_candidate(value: str) -> None:
    """Raise InvalidRequest for what is no candidate id, NationalIdRefused for a resident ID."""
    _CANDIDATE.read({"candidate": value})
    refuse_resident_id(value)


def whole_number(text: str, low: int, high: int) -> int | None:
    """Return the number in a text, in its shortest form and within limits; None otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004  no larger than a bigint
        return None
    return int(text) if low <= int(text) <= high and text == str(int(text)) else None
