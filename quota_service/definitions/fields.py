"""The types of the members of an exam definition: what they may be, and what is said if not."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import ge, gt, le
from typing import Annotated, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from quota_service.domain.definition import EPOCH, LATEST_MS, MAX_SHOWN, shown
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

MAX_LANGUAGES = 32
"""Languages of one text."""
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
"""The tag of a language, by the form of BCP 47."""
TIME_ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+/-]{0,63}", re.ASCII)
"""IANA zone names; `localtime` and the like, which mean something else elsewhere, are left out."""
MIN_RATE_PER_S = 0.01
MAX_RATE_PER_S = 100_000
"""Candidates a second that a waiting room lets in."""

TAGS: Final = frozenset(
    {"<plain>", "<languages>", "<table>", "<rows>", "<seats>", "<capacity>", "<drand>", "<event>"}
)
"""Names of the forms a member can have; pydantic puts them into the places of errors."""

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)


class Table(BaseModel):
    """A table of a definition: of known members, each with its meaning behind it."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        # What is answered has every member.
        json_schema_serialization_defaults_required=True,
    )


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
    """Return a time in milliseconds since the epoch, from RFC 3339 or the datetime of a file.

    One without an offset is on the clocks of the zone in the context; while that is not known,
    None comes back. What a clock change makes ambiguous, or leaves out, is refused.
    """
    if not isinstance(value, str | datetime):
        raise wrong("must be an RFC 3339 date and time", FORM)
    moment = _moment(value) if isinstance(value, str) else value
    if moment.microsecond % 1000:
        raise wrong("must not be more precise than milliseconds")
    if moment.tzinfo is None:
        zone = info.context
        if zone is None:
            return None
        moment = moment.replace(tzinfo=zone)
        if moment.utcoffset() != moment.replace(fold=1).utcoffset():
            raise wrong(f"is ambiguous or skipped by a clock change of {zone.key}: give its offset")
    since_epoch_ms = (moment - EPOCH) // timedelta(milliseconds=1)
    if not 0 <= since_epoch_ms <= LATEST_MS:
        raise wrong("must be from the year 1970 to 9999")
    return since_epoch_ms


def _moment(text: str) -> datetime:
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        raise wrong(
            "must be an RFC 3339 date and time such as 2023-03-14T12:00:00+08:00, "
            f"not {text[:MAX_SHOWN]!r}{'…' if len(text) > MAX_SHOWN else ''}"
        )
    if (parts["fraction"] or "")[3:].strip("0"):
        raise wrong("must not be more precise than milliseconds")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as fault:
        raise wrong(f"{text!r} is not a valid date and time: {fault}") from fault


def _compared(holds: Callable[[Any, Any], bool], words: str) -> Callable[[str], AfterValidator]:
    """Return the check of a member against one before it, which must hold as `words` say."""

    def with_member(name: str) -> AfterValidator:
        def check(value: Any, info: ValidationInfo) -> Any:
            other = info.data.get(name)
            if value is not None and other is not None and not holds(value, other):
                raise wrong(f"must {words} {name}")
            return value

        return AfterValidator(check)

    return with_member


later_than = _compared(gt, "be later than")
not_less_than = _compared(ge, "not be less than")
not_more_than = _compared(le, "not be more than")


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
ClockTime = Annotated[
    str,
    Matching(re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII), "a time of day such as 08:30"),
]
"""Hours and minutes on the clocks of the exam's time zone."""
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
Title = _Text[Annotated[str, Words(200)]]
NoticeText = _Text[Annotated[str, Words(10_000, several_lines=True)]]
