"""The parts of an exam definition: each function reads one table and returns the value it defines.

The limits of texts, amounts and durations stand here; those of ids and counts in `exam.py`.
"""

import re
from collections.abc import Callable, KeysView
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from quota_service.domain.definition_fields import Table, shown
from quota_service.domain.exam import (
    IDENTIFIER,
    FairUseRules,
    Fee,
    HoldRules,
    Notice,
    Session,
    Subject,
    Text,
    Venue,
    WaitingRoomRules,
    Window,
)

MAX_TITLE = 200
"""Characters of a title."""

MAX_NOTICE = 10_000
"""Characters of the notice in one language."""

MAX_LANGUAGES = 32
"""Languages of one text."""

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
"""The tag of a language, by the form of BCP 47."""

_NO_TEXT = Text(())

MAX_FEE = 10_000_000
"""Minor units for one subject; more is a typing error."""

MAX_TTL_S = 86_400
MAX_CHECKOUT_GRACE_S = 86_400
MAX_EXPIRY_SLACK_S = 60

DEFAULT_CHECKOUT_GRACE_S = 600
"""Time added when payment begins, unless a definition says otherwise."""

DEFAULT_EXPIRY_SLACK_S = 5
"""Time a payment made at the deadline has to arrive, unless a definition says otherwise."""

MIN_RATE_PER_S = 0.01
MAX_RATE_PER_S = 100_000
"""Candidates a second that a waiting room lets in."""

MAX_PLACES = 1_000_000
MIN_PASS_TTL_S = 30
MAX_PASS_TTL_S = 3600
MAX_CLAIM_GRACE_S = 86_400

DEFAULT_RATE_PER_S = 20
DEFAULT_RATE_MAX_PER_S = 1000
DEFAULT_RATE_MIN_PER_S = 1
DEFAULT_PLACES_MAX = 5000
DEFAULT_PASS_TTL_S = 600
DEFAULT_IDLE_S = 300
DEFAULT_CLAIM_GRACE_S = 300
"""The rules of a waiting room, unless a definition says otherwise."""

MAX_UNPAID_HOLDS = 1000
MAX_UNPAID_PAUSE_S = 31 * 86_400
MAX_VENUE_CHANGES = 1000
DEFAULT_FAIR_USE = FairUseRules()
"""The rules of fair use, unless a definition says otherwise."""

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NOTICE_VERSION = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
_IDENTIFIER_MEANING = "1 to 32 of a-z, 0-9, - and _, the first a letter or digit"


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


_Part = TypeVar("_Part", bound=_Identified)


def read_parts(
    top: Table,
    key: str,
    most: int,
    read: Callable[[Table], _Part],
) -> tuple[tuple[_Part, ...], KeysView[str] | None]:
    """Return the parts of the list at `key` and their ids, or None for these without a list.

    An id that stands twice is noted.
    """
    tables = top.tables(key, most)
    if tables is None:
        return (), None
    parts = []
    given_at: dict[str, str] = {}
    for table in tables:
        part = read(table)
        parts.append(part)
        first = given_at.setdefault(part.id, table.where)
        if first != table.where and part.id:
            table.note("id", f"{shown(part.id)} is the id of {first} already")
    return tuple(parts), given_at.keys()


def read_id(table: Table) -> str:
    """Read the id of the exam or of one of its parts."""
    return table.matching("id", IDENTIFIER, _IDENTIFIER_MEANING)


def read_title(table: Table) -> Text:
    """Read the title, in any languages."""
    return _text(table, "title", longest=MAX_TITLE)


def read_window(top: Table, key: str, zone: ZoneInfo | None) -> Window:
    """Read a window, which opens before it closes."""
    table = top.table(key)
    if table is None:
        return Window(0, 0)
    return Window(*_span(table, "opens_at", "closes_at", zone))


def read_fee(top: Table) -> Fee:
    """Read the fee of one subject."""
    table = top.table("fee")
    if table is None:
        return Fee(0, "")
    fee = Fee(
        amount=table.number("amount", 0, MAX_FEE),
        currency=table.matching("currency", _CURRENCY, "three upper-case letters"),
    )
    table.finish()
    return fee


def read_hold(top: Table) -> HoldRules:
    """Read the rules of holds, of which only `ttl_s` has no default."""
    table = top.table("hold")
    if table is None:
        return HoldRules(0, 0, 0)
    rules = HoldRules(
        ttl_s=table.number("ttl_s", 1, MAX_TTL_S),
        checkout_grace_s=table.number(
            "checkout_grace_s", 0, MAX_CHECKOUT_GRACE_S, default=DEFAULT_CHECKOUT_GRACE_S
        ),
        expiry_slack_s=table.number(
            "expiry_slack_s", 0, MAX_EXPIRY_SLACK_S, default=DEFAULT_EXPIRY_SLACK_S
        ),
    )
    table.finish()
    return rules


def read_fair_use(top: Table) -> FairUseRules:
    """Read the rules of fair use; all have defaults, and a default gives way to what is said."""
    if not top.has("fair_use"):
        top.ignore("fair_use")
        return DEFAULT_FAIR_USE
    table = top.table("fair_use")
    if table is None:
        return DEFAULT_FAIR_USE
    default = DEFAULT_FAIR_USE
    pause_s = table.number("unpaid_pause_s", 1, MAX_UNPAID_PAUSE_S, default=default.unpaid_pause_s)
    rules = FairUseRules(
        unpaid_holds_max=table.number(
            "unpaid_holds_max", 1, MAX_UNPAID_HOLDS, default=default.unpaid_holds_max
        ),
        unpaid_pause_s=pause_s,
        unpaid_pause_max_s=table.number(
            "unpaid_pause_max_s",
            1,
            MAX_UNPAID_PAUSE_S,
            default=max(default.unpaid_pause_max_s, pause_s),
        ),
        venue_changes_max=table.number(
            "venue_changes_max", 0, MAX_VENUE_CHANGES, default=default.venue_changes_max
        ),
        key_share_max_percent=table.number(
            "key_share_max_percent", 1, 100, default=default.key_share_max_percent
        ),
    )
    if rules.unpaid_pause_max_s < pause_s:
        table.note("unpaid_pause_max_s", "must not be less than unpaid_pause_s")
    table.finish()
    return rules


def read_waiting_room(top: Table) -> WaitingRoomRules | None:
    """Read the rules of the waiting room, None where the exam has none; all have defaults.

    A default gives way to what the definition says, so that one rule can be given alone.
    """
    if not top.has("waiting_room"):
        top.ignore("waiting_room")
        return None
    table = top.table("waiting_room")
    if table is None:
        return None
    rate = table.rate("rate_per_s", MIN_RATE_PER_S, MAX_RATE_PER_S, default=DEFAULT_RATE_PER_S)
    ttl_s = table.number("pass_ttl_s", MIN_PASS_TTL_S, MAX_PASS_TTL_S, default=DEFAULT_PASS_TTL_S)
    rules = WaitingRoomRules(
        rate_per_s=rate,
        rate_max_per_s=table.rate(
            "rate_max_per_s",
            MIN_RATE_PER_S,
            MAX_RATE_PER_S,
            default=max(DEFAULT_RATE_MAX_PER_S, rate),
        ),
        rate_min_per_s=table.rate(
            "rate_min_per_s",
            MIN_RATE_PER_S,
            MAX_RATE_PER_S,
            default=min(DEFAULT_RATE_MIN_PER_S, rate),
        ),
        places_max=table.number("places_max", 1, MAX_PLACES, default=DEFAULT_PLACES_MAX),
        pass_ttl_s=ttl_s,
        idle_s=table.number("idle_s", 1, MAX_PASS_TTL_S, default=min(DEFAULT_IDLE_S, ttl_s)),
        claim_grace_s=table.number(
            "claim_grace_s", 1, MAX_CLAIM_GRACE_S, default=DEFAULT_CLAIM_GRACE_S
        ),
    )
    if rules.rate_max_per_s < rate:
        table.note("rate_max_per_s", "must not be less than rate_per_s")
    if rules.rate_min_per_s > rate:
        table.note("rate_min_per_s", "must not be more than rate_per_s")
    if rules.idle_s > ttl_s:
        table.note("idle_s", "must not be longer than pass_ttl_s")
    table.finish()
    return rules


def read_notice(top: Table) -> Notice:
    """Read the notice, whose text may have several lines."""
    table = top.table("notice")
    if table is None:
        return Notice("", _NO_TEXT)
    notice = Notice(
        version=table.matching("version", _NOTICE_VERSION, "1 to 32 of A-Z, a-z, 0-9, ., _ and -"),
        text=_text(table, "text", longest=MAX_NOTICE, several_lines=True),
    )
    table.finish()
    return notice


def read_session(table: Table, zone: ZoneInfo | None) -> Session:
    """Read a session, which starts before it ends."""
    session_id = read_id(table)
    title = read_title(table)
    starts_at_ms, ends_at_ms = _span(table, "starts_at", "ends_at", zone)
    return Session(session_id, title, starts_at_ms, ends_at_ms)


def read_subject(table: Table, sessions: KeysView[str] | None) -> Subject:
    """Read a subject, whose session is one of `sessions` (None: they could not be read)."""
    subject = Subject(
        id=read_id(table),
        title=read_title(table),
        session=table.matching("session", IDENTIFIER, "the id of a session"),
    )
    named = IDENTIFIER.fullmatch(subject.session) is not None
    if sessions is not None and named and subject.session not in sessions:
        table.note("session", f"{shown(subject.session)} is not a session of this exam")
    table.finish()
    return subject


def read_venue(table: Table) -> Venue:
    """Read a venue."""
    venue = Venue(id=read_id(table), title=read_title(table))
    table.finish()
    return venue


def _text(parent: Table, key: str, *, longest: int, several_lines: bool = False) -> Text:
    if parent.holds_text(key):
        return Text.of({"": parent.text(key, longest=longest, several_lines=several_lines)})
    table = parent.table(key, wanted="a text or a table of texts by language")
    if table is None:
        return _NO_TEXT
    if not 1 <= len(table.keys) <= MAX_LANGUAGES:
        parent.note(key, f"must have 1 to {MAX_LANGUAGES} languages, not {len(table.keys)}")
        return _NO_TEXT
    for tag in table.keys:
        if LANGUAGE.fullmatch(tag) is None:
            table.note(tag, "must be a language tag such as zh, en or zh-Hant")
    return Text.of(
        {tag: table.text(tag, longest=longest, several_lines=several_lines) for tag in table.keys}
    )


def _span(table: Table, start: str, end: str, zone: ZoneInfo | None) -> tuple[int, int]:
    start_ms = table.time_ms(start, zone)
    end_ms = table.time_ms(end, zone)
    table.finish()
    if start_ms is None or end_ms is None:
        return 0, 0
    if end_ms <= start_ms:
        table.note(end, f"must be later than {start}")
    return start_ms, end_ms
