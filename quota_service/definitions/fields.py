"""The types of the members of an exam definition, with the limits of their values."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from quota_service.definitions.times import time_ms
from quota_service.domain.definition import shown
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.schema import (
    CLOCK_PATTERN,
    DATE_PATTERN,
    FORM,
    OFFSET_PATTERN,
    UTC_TIME,
    Matching,
    Number,
    Whole,
    Words,
    wrong,
)

MAX_TITLE = 200
"""Characters of a title."""
MAX_NOTICE = 10_000
"""Characters of the notice in one language."""
MAX_LANGUAGES = 32
"""Languages of one text."""
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
"""The tag of a language, by the form of BCP 47."""
TIME_ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+/-]{0,63}", re.ASCII)
"""IANA zone names; `localtime` and the like, which mean something else elsewhere, are left out."""

MAX_FEE = 10_000_000
"""Minor units for one subject; more is a typing error."""
MAX_TTL_S = 86_400
MAX_CHECKOUT_GRACE_S = 86_400
MAX_EXPIRY_SLACK_S = 60

MIN_RATE_PER_S = 0.01
MAX_RATE_PER_S = 100_000
"""Candidates a second that a waiting room lets in."""
MAX_PLACES = 1_000_000
MIN_PASS_TTL_S = 30
MAX_CLAIM_GRACE_S = 86_400

MAX_UNPAID_HOLDS = 1000
MAX_UNPAID_PAUSE_S = 31 * 86_400
MAX_VENUE_CHANGES = 1000

TAGS: Final = frozenset({"<plain>", "<languages>", "<table>", "<rows>", "<seats>", "<capacity>"})
"""Names of the forms a member can have; they stand in the places that pydantic tells."""


def zone_named(name: object) -> ZoneInfo | None:
    """Return the time zone of a name, or None where it names none."""
    try:
        if isinstance(name, str) and TIME_ZONE_NAME.fullmatch(name) is not None:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # ZoneInfo looks for a file of that name, and a folder (`Asia`) is an OSError to it.
        pass
    return None


def _zone(name: Any) -> ZoneInfo:
    if not isinstance(name, str):
        raise wrong("must be a string", FORM)
    zone = zone_named(name)
    if zone is None:
        raise wrong(f"{shown(name)} is not a known time zone")
    return zone


def _time_ms(value: Any, info: ValidationInfo) -> int | None:
    """Return a time in milliseconds; None without an offset while the zone is not known."""
    if not isinstance(value, str | datetime):
        raise wrong("must be an RFC 3339 date and time", FORM)
    try:
        return time_ms(value, info.context)
    except ValueError as fault:
        raise wrong(str(fault)) from fault


def later_than(name: str) -> AfterValidator:
    """Return the check that a time is later than another member."""

    def check(value: int | None, info: ValidationInfo) -> int | None:
        before = info.data.get(name)
        if value is not None and before is not None and value <= before:
            raise wrong(f"must be later than {name}")
        return value

    return AfterValidator(check)


def not_less_than(name: str) -> AfterValidator:
    """Return the check that a number is not less than another member."""

    def check(value: float, info: ValidationInfo) -> float:
        if value < info.data.get(name, value):
            raise wrong(f"must not be less than {name}")
        return value

    return AfterValidator(check)


def not_more_than(name: str) -> AfterValidator:
    """Return the check that a number is not more than another member."""

    def check(value: float, info: ValidationInfo) -> float:
        if value > info.data.get(name, value):
            raise wrong(f"must not be more than {name}")
        return value

    return AfterValidator(check)


def form_by_type(kinds: dict[type, str], meaning: str) -> Discriminator:
    """Return what chooses the form of a value by its type."""

    def tag(value: Any) -> str | None:
        return next((name for kind, name in kinds.items() if isinstance(value, kind)), None)

    return Discriminator(tag, custom_error_type=FORM, custom_error_message=meaning)


def _counted(texts: Any) -> Any:
    """Refuse too many languages before each is looked at."""
    if isinstance(texts, dict) and not 1 <= len(texts) <= MAX_LANGUAGES:
        raise wrong(f"must have 1 to {MAX_LANGUAGES} languages, not {len(texts)}")
    return texts


Time = Annotated[
    int,
    PlainValidator(_time_ms),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{DATE_PATTERN}[Tt ]{CLOCK_PATTERN}{OFFSET_PATTERN}?$",
            "note": "RFC 3339, to the millisecond; without an offset it is a time in `time_zone`.",
        },
        mode="validation",
    ),
    WithJsonSchema(UTC_TIME, mode="serialization"),
]
"""Milliseconds since the epoch."""
Zone = Annotated[
    ZoneInfo,
    PlainValidator(_zone),
    WithJsonSchema({"type": "string", "pattern": f"^{TIME_ZONE_NAME.pattern}$"}),
]
Seats = Annotated[int, Whole(0, MAX_CAPACITY), Field(description="Seats released.")]
Rate = Annotated[float, Number(MIN_RATE_PER_S, MAX_RATE_PER_S)]
Language = Annotated[str, Matching(LANGUAGE, "a language tag such as zh, en or zh-Hant")]

_Words = TypeVar("_Words")
_Text = Annotated[
    Annotated[_Words, Tag("<plain>")]
    | Annotated[
        dict[Language, _Words],
        Field(min_length=1, max_length=MAX_LANGUAGES),
        BeforeValidator(_counted),
        Tag("<languages>"),
    ],
    form_by_type(
        {str: "<plain>", dict: "<languages>"}, "must be a text or a table of texts by language"
    ),
    Field(description="A text by language (the tag of BCP 47), or a plain text."),
    WithJsonSchema({"component": "Text"}, mode="serialization"),
]
Title = _Text[Annotated[str, Words(MAX_TITLE)]]
NoticeText = _Text[Annotated[str, Words(MAX_NOTICE, several_lines=True)]]
