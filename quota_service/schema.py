"""The field types that models are written with, and what a model finds wrong, in words for people.

Pydantic reads what comes from outside: bodies, definitions. A field type says in one place which
values it takes, what the OpenAPI document says of them, and what a value must be, which is all that
is reported of a wrong one.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from quota_service.domain.candidate import CANDIDATE_ID
from quota_service.domain.exam import IDENTIFIER

FORM = "form"
"""The kind of fault of a value that is not of the form it must have."""
WRONG = "wrong"
"""The kind of fault of a value that has the form, and is wrong for another reason."""

DATE_PATTERN = r"(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
"""A date of the years that are taken, 1970 to 9999."""
CLOCK_PATTERN = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
OFFSET_PATTERN = r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
EXAM_EXAMPLE = "ccaa-2023-1"
CANDIDATE_EXAMPLE = "c-7f3a91"
RESERVATION_EXAMPLE = f"{EXAM_EXAMPLE}.0.kx5wcu3hqzyd2m7fov4tnbra"
ENTRY_EXAMPLE = f"{EXAM_EXAMPLE}.w.kx5wcu3hqzyd2m7fov4tnbra"
TICKET_EXAMPLE = "Y2NhYS0yMDIzLTF8Yy03ZjNhOTF8MA.bm90IGEgcmVhbCBzaWduYXR1cmUsIGFuIGV4YW1wbGUu"
"""What a ticket or a pass looks like; its signature is none."""

UTC_TIME: JsonSchemaValue = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
    "note": "RFC 3339, in UTC with milliseconds.",
    "examples": ["2023-03-14T04:00:12.678Z"],
}
"""The schema of a time as the API writes it; a note follows the description of a member."""

Location = tuple[str | int, ...]
"""The path of a value: names of members and positions in lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the value at a location."""

    location: Location
    detail: str
    value: Any = None
    kind: str = WRONG


def wrong(detail: str, kind: str = WRONG) -> PydanticCustomError:
    """Return the error that a check of our own raises."""
    return PydanticCustomError(kind, "{detail}", {"detail": detail})


def example(value: Any) -> Any:
    """Return what says in a schema which value shows a type; bodies are composed of such values."""
    return Field(examples=[value])


@dataclass(frozen=True, slots=True)
class Meaning:
    """Says what a value must be, in place of whatever pydantic says about it."""

    text: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of the annotated type, with one error for all that can be wrong."""
        return _with_meaning(handler(source), self.text)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within limits: no float, no bool."""

    low: int
    high: int
    of: str = ""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: object) -> CoreSchema:
        """Return the schema of such a number."""
        number = core_schema.int_schema(strict=True, ge=self.low, le=self.high)
        return _with_meaning(number, f"a whole number{self.of} from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Number:
    """A number within limits, whole or not."""

    low: float
    high: float

    def __get_pydantic_core_schema__(self, _source: Any, _handler: object) -> CoreSchema:
        """Return the schema of such a number."""
        number = core_schema.float_schema(
            strict=True, ge=self.low, le=self.high, allow_inf_nan=False
        )
        return _with_meaning(number, f"a number from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that matches a pattern as a whole; `meaning` says it in words."""

    pattern: re.Pattern[str]
    meaning: str
    longest: int | None = None

    def __get_pydantic_core_schema__(self, _source: Any, _handler: object) -> CoreSchema:
        """Return the schema of such a text."""
        text = core_schema.str_schema(
            strict=True, pattern=f"^{self.pattern.pattern}$", max_length=self.longest
        )
        return _with_meaning(text, self.meaning)


class OneOf:
    """One of a few texts."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: object) -> CoreSchema:
        """Return the schema of such a text."""
        texts = core_schema.literal_schema(self._texts)
        return _with_meaning(texts, f"one of {', '.join(self._texts)}")


@dataclass(frozen=True, slots=True)
class Words:
    """A text of 1 to `longest` characters that is not blank, on one line unless it may have more.

    Control characters are refused, except line breaks and tabs where `several_lines` is true.
    """

    longest: int
    several_lines: bool = False

    def __get_pydantic_core_schema__(self, _source: Any, _handler: object) -> CoreSchema:
        """Return the schema of such a text."""
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON schema of such a text."""
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": r"\S"}

    def _read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise wrong("must be a string", FORM)
        if not value.strip():
            raise wrong("must not be empty")
        if len(value) > self.longest:
            raise wrong(f"must have at most {self.longest} characters, not {len(value)}")
        for character in value:
            # Cs are lone surrogates, which no encoder writes; Zl and Zp break lines like controls.
            if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and not (
                self.several_lines and character in "\n\r\t"
            ):
                raise wrong(f"has the control character U+{ord(character):04X}")
        return value


def _with_meaning(schema: CoreSchema, meaning: str) -> CoreSchema:
    return core_schema.custom_error_schema(
        schema,
        custom_error_type=FORM,
        custom_error_message="{detail}",
        custom_error_context={"detail": f"must be {meaning}"},
    )


Identifier = Annotated[
    str, Matching(IDENTIFIER, "1 to 32 of a-z, 0-9, - and _, the first a letter or digit")
]
CandidateId = Annotated[
    str,
    Matching(CANDIDATE_ID, "1 to 64 characters of A-Z a-z 0-9 . _ : @ ~ + = -"),
    Field(
        description="Opaque id of the candidate, chosen by the frontend; a resident ID number "
        "is refused as `national-id-refused`.",
        examples=[CANDIDATE_EXAMPLE],
    ),
]
Currency = Annotated[
    str,
    Matching(re.compile(r"[A-Z]{3}"), "an ISO 4217 code such as CNY"),
    Field(description="ISO 4217 code.", examples=["CNY"]),
]

REASON_MAX = 500
"""Characters of a reason."""
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

_ONE_LINE = re.compile(rf"[^ {_CONTROLS}][^{_CONTROLS}]*")


def one_line(longest: int) -> Matching:
    """Return what a text of one line is, of so many characters at most."""
    return Matching(_ONE_LINE, f"1 to {longest} characters on one line, no blank first", longest)


Reason = Annotated[
    str,
    one_line(REASON_MAX),
    example("burst pipe, told by the venue on 13 March"),
]
"""Why ops did something, for those who look later."""

EVIDENCE_MAX = 1000
"""Characters of what the source of a draw has come to."""

Evidence = Annotated[
    str,
    one_line(EVIDENCE_MAX),
    example("03 11 17 22 28 30, 07"),
]
"""What the source of a draw has come to, word for word."""

_DETAILS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "string_unicode": "has a key that is not Unicode text",
    "too_short": "must have at least {min_length} entries, not {actual_length}",
    "too_long": "must have at most {max_length} entries, not {actual_length}",
}
"""What is said of errors of pydantic; all others are that a value is no list or no table."""


def faults(error: ValidationError) -> Iterator[Fault]:
    """Yield all that a model found wrong, in the order of its members, unknown members last."""
    for each in error.errors(include_url=False):
        kind, detail = each["type"], each["msg"]
        if kind in _DETAILS:
            detail = _DETAILS[kind].format_map(each.get("ctx", {}))
            detail = detail.replace(" 1 entries", " 1 entry")
        elif kind not in {FORM, WRONG}:
            kind, detail = FORM, f"must be a {'list' if kind == 'list_type' else 'table'}"
        yield Fault(each["loc"], detail, each["input"], kind)
