"""An exam as its organiser defines it: windows, sessions, subjects, venues, seats, fee and notice.

These values are what a definition file, the database document and the public API all agree on.
Times are integers, milliseconds since the Unix epoch; money is in minor units. Ids are short
lower-case ASCII so that they can be part of URLs, Redis keys and record fields without escaping.

Rules for seats that come back, waiting lists, releases, set-asides and ceilings are values of an
exam too, and the pauses of ops. Over 400 lines because the exam is read as one value.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Self

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
"""Exam, session, subject and venue ids: at most 32 characters; no dot, slash, comma or pipe,
which separate the parts of reservation ids, quota fields and records."""

REHEARSAL_PREFIX = "rehearsal-"
"""How the id of an exam starts that a rehearsal makes and archives. No real exam is called so: a
definition file with such an id is refused."""

MAX_SESSIONS = 32
MAX_SUBJECTS = 128
MAX_VENUES = 512
MAX_CAPACITY = 1_000_000
"""Seats of one quota; a larger figure is a typing error, not a hall."""
_NO_LIMIT = 2**53
"""A time (ms) or a count that nothing reaches, and that Lua can tell from the next one."""
MAX_PASS_TTL_S = 3600
"""Life of a pass of a waiting room, at most."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text in one or more languages, or a plain one of unknown language.

    `languages` has the tag (BCP 47) and the text of each, `zh` first, the others by tag; the tag of
    a plain text is empty.
    """

    languages: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Self:
        """Return the text that has these texts by language."""
        return cls(tuple(sorted(texts.items(), key=lambda each: (each[0] != "zh", each[0]))))

    def __str__(self) -> str:
        """Return the text in all its languages, in one line for people; what is equal, once."""
        return " / ".join(dict.fromkeys(text for _, text in self.languages))


@dataclass(frozen=True, slots=True, order=True)
class Quota:
    """Names the seats of one subject at one venue of an exam."""

    venue: str
    subject: str

    def __str__(self) -> str:
        """Return the form used in Redis fields and in messages: `venue/subject`."""
        return f"{self.venue}/{self.subject}"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The seats of a venue in a session, whatever the subject; `subjects` are those it seats."""

    venue: str
    session: str
    seats: int
    subjects: tuple[str, ...]

    def __str__(self) -> str:
        """Return the form used in Redis fields and in messages: `venue/session`."""
        return f"{self.venue}/{self.session}"


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, open at its start and closed at its end (milliseconds since the epoch)."""

    opens_at_ms: int
    closes_at_ms: int


@dataclass(frozen=True, slots=True)
class Fee:
    """What one subject costs one candidate: minor units and an ISO 4217 code."""

    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class HoldRules:
    """How long an unpaid hold lives.

    The deadline shown is `ttl_s` after the reservation, moved out once by `checkout_grace_s` when
    payment begins. Seats go back no earlier than `expiry_slack_s` after the deadline shown, which
    leaves a payment already under way the time to arrive.
    """

    ttl_s: int
    checkout_grace_s: int
    expiry_slack_s: int


@dataclass(frozen=True, slots=True)
class FairUseRules:
    """What keeps one candidate from having seats that others would pay for.

    A reservation changes its venue `venue_changes_max` times, as a hold and as a booking together.
    The unpaid holds made with one API key have `key_share_max_percent` of a quota's seats at most,
    but one seat at least: less than 100 is for exams that several frontends sell.

    After `unpaid_holds_max` of its holds have ended unpaid, by expiry or release, a candidate can
    make the next one only `unpaid_pause_s` after the last end. Each further hold that ends unpaid
    doubles the pause, up to `unpaid_pause_max_s`.
    """

    unpaid_holds_max: int = 5
    unpaid_pause_s: int = 900
    unpaid_pause_max_s: int = 86_400
    venue_changes_max: int = 5
    key_share_max_percent: int = 100


class SourceKind(StrEnum):
    """What a public source of randomness is."""

    DRAND = "drand"
    """A round of a drand chain, which workers fetch."""
    EVENT = "event"
    """A named event such as a lottery draw, whose outcome ops put in."""


@dataclass(frozen=True, slots=True)
class DrawSource:
    """A public source of randomness that does not exist yet when the entries of a draw close.

    It comes at `at_ms`. Of `DRAND` it is the beacon of `round` of the chain with the hash `chain`;
    of `EVENT`, the outcome of what `description` names.
    """

    kind: SourceKind
    entries_close_at_ms: int
    at_ms: int
    chain: str = ""
    round: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class WaitingRoomRules:
    """How the waiting room of an exam lets candidates in.

    Admission starts at `rate_per_s` candidates a second and moves between `rate_min_per_s` and
    `rate_max_per_s`; at most `places_max` candidates have a place at once. A pass lives for
    `pass_ttl_s`, and a place that is not used for `idle_s` is free for others. A turn can be
    claimed for `claim_grace_s`; after it the candidate joins again at the back. Without a `source`
    the seed alone decides the draw.
    """

    rate_per_s: float
    rate_max_per_s: float
    rate_min_per_s: float
    places_max: int
    pass_ttl_s: int
    idle_s: int
    claim_grace_s: int
    source: DrawSource | None = None


class ReturnRule(StrEnum):
    """Where seats go that come back: given back, expired, refunded, moved away from, or added."""

    AT_ONCE = "at-once"
    """On open sale."""
    LIST_FIRST = "list-first"
    """To the waiting list; what no entry can use, on open sale at once."""
    AT_TIMES = "at-times"
    """They wait for the next announced time; then to the list, and the rest on open sale."""


@dataclass(frozen=True, slots=True)
class ReturnedSeats:
    """The rule of an exam for seats that come back.

    `times` are those of each day, `HH:MM` in the exam's time zone; of `AT_TIMES` alone.
    """

    rule: ReturnRule = ReturnRule.AT_ONCE
    times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of each day in which the deadline of an offer does not run.

    `HH:MM` in the exam's time zone; they may span midnight.
    """

    starts: str
    ends: str


class ListOrder(StrEnum):
    """The order of a waiting list."""

    NUMBER = "number"
    """As entries joined."""
    DRAW = "draw"
    """By a draw among the entries that joined between two dealings."""


@dataclass(frozen=True, slots=True)
class WaitingListRules:
    """How the waiting list of an exam goes.

    An offer can be paid for `offer_ttl_s` seconds, in which quiet hours do not count. At most
    `length_max` entries wait for a quota.
    """

    offer_ttl_s: int
    order: ListOrder = ListOrder.NUMBER
    quiet_hours: QuietHours | None = None
    length_max: int = 10_000


class Announce(StrEnum):
    """What is public of a seat release before it happens."""

    TIME = "time"
    TIME_AND_VENUES = "time-and-venues"
    EVERYTHING = "everything"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class SeatRelease:
    """More seats at a time (ms since the epoch)."""

    id: str
    at_ms: int
    announce: Announce
    seats: Mapping[Quota, int]


@dataclass(frozen=True, slots=True)
class SetAside:
    """Seats that are kept for a group until a time (ms since the epoch); part of the capacity."""

    id: str
    title: Text
    until_ms: int
    seats: Mapping[Quota, int]


@dataclass(frozen=True, slots=True)
class Pause:
    """What ops have paused: a venue, a subject, one of both, or all where neither is named.

    `stops_changes` where changes of venue are stopped as well as reserving. The reason is public.
    """

    venue: str
    subject: str
    stops_changes: bool
    reason: str
    retry_after_s: int
    since_ms: int

    @property
    def scope(self) -> str:
        """What is paused, as one word."""
        return self.scope_of(self.venue, self.subject)

    @staticmethod
    def scope_of(venue: str, subject: str) -> str:
        """Return the word for a venue and a subject: `venue/subject`, `*` where none is named."""
        return f"{venue or '*'}/{subject or '*'}"

    def covers(self, venue: str, subjects: Collection[str]) -> bool:
        """Return whether an order of these subjects at a venue is paused."""
        return self.venue in ("", venue) and (not self.subject or self.subject in subjects)


@dataclass(frozen=True, slots=True)
class Notice:
    """The notice a candidate accepts; a new text gets a new version."""

    version: str
    text: Text


@dataclass(frozen=True, slots=True)
class Session:
    """One sitting; a candidate takes at most one subject in it."""

    id: str
    title: Text
    starts_at_ms: int
    ends_at_ms: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject, which belongs to one session."""

    id: str
    title: Text
    session: str


@dataclass(frozen=True, slots=True)
class Venue:
    """A place where the exam is taken."""

    id: str
    title: Text


@dataclass(frozen=True)
class Exam:
    """One exam, complete and valid: every subject has its session, every quota its subject."""

    id: str
    title: Text
    time_zone: str
    registration: Window
    refund: Window
    hold: HoldRules
    fee: Fee
    notice: Notice
    sessions: tuple[Session, ...]
    subjects: tuple[Subject, ...]
    venues: tuple[Venue, ...]
    seats: Mapping[Quota, int]
    waiting_room: WaitingRoomRules | None = None
    """None where the exam has no waiting room."""
    fair_use: FairUseRules = FairUseRules()
    returned: ReturnedSeats = ReturnedSeats()
    waiting_list: WaitingListRules | None = None
    """None where the exam has no waiting list."""
    releases: tuple[SeatRelease, ...] = ()
    set_asides: tuple[SetAside, ...] = ()
    ceilings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Seats of a venue in a session, whatever the subject, by venue and session; where limited."""
    revision: int = field(default=0, compare=False)
    """Names this definition among all that were ever stored; 0 for one that is not stored."""
    closed: frozenset[str] = field(default=frozenset(), compare=False)
    """What ops have closed for sale: venues, and `venue/subject` where some subjects are."""
    pauses: tuple[Pause, ...] = field(default=(), compare=False)
    """What ops have paused."""
    resumed_at_ms: int = field(default=0, compare=False)
    """When the last pause of all of it was ended; 0 where there was none."""
    announced: tuple[SeatRelease, ...] = field(default=(), compare=False)
    """The seat releases to come of which something is public, by time; those of ops too."""

    @cached_property
    def session_of(self) -> Mapping[str, str]:
        """The session id of each subject id."""
        return {subject.id: subject.session for subject in self.subjects}

    @cached_property
    def starts_at_ms(self) -> Mapping[str, int]:
        """When the sitting of each subject begins, by subject id."""
        starts = {session.id: session.starts_at_ms for session in self.sessions}
        return {subject.id: starts[subject.session] for subject in self.subjects}

    @cached_property
    def rooms(self) -> tuple["Ceiling", ...]:
        """The ceilings, each with the subjects of its session that its venue offers."""
        of_session: dict[tuple[str, str], list[str]] = {place: [] for place in self.ceilings}
        for quota in sorted(self.seats) if self.ceilings else ():
            place = quota.venue, self.session_of[quota.subject]
            if place in of_session:
                of_session[place].append(quota.subject)
        return tuple(
            Ceiling(*place, seats, tuple(of_session[place]))
            for place, seats in self.ceilings.items()
        )

    def first_sitting(self, subjects: Iterable[str]) -> Session:
        """Return the session of the subjects that begins first; one of them must be the exam's."""
        chosen = {self.session_of[subject] for subject in subjects if subject in self.session_of}
        sessions = (session for session in self.sessions if session.id in chosen)
        return min(sessions, key=lambda session: session.starts_at_ms)

    @cached_property
    def ends_at_ms(self) -> int:
        """When the exam is over: after its windows and its last sitting."""
        sittings = (session.ends_at_ms for session in self.sessions)
        return max(self.registration.closes_at_ms, self.refund.closes_at_ms, *sittings)

    def is_closed(self, venue: str, subjects: Iterable[str]) -> bool:
        """Return whether a venue is closed for sale in one of the subjects."""
        if not self.closed:
            return False
        return venue in self.closed or any(f"{venue}/{each}" in self.closed for each in subjects)

    def open_again(self, venue: str, subjects: Iterable[str]) -> frozenset[str]:
        """Return what is closed once a venue is open in some subjects; in all where none is named.

        Of a venue that is closed as a whole the other subjects stay closed.
        """
        ours = {f"{venue}/{subject.id}" for subject in self.subjects}
        opened = {f"{venue}/{subject}" for subject in subjects} or ours
        stays = self.closed - {venue} - opened
        return stays | (ours - opened) if venue in self.closed else stays

    def pause_of(
        self, venue: str, subjects: Collection[str], *, for_change: bool = False
    ) -> Pause | None:
        """Return what keeps an order of these subjects from a venue, or a change to it."""
        if not self.pauses:
            return None
        return next(
            (
                pause
                for pause in self.pauses
                if (pause.stops_changes or not for_change) and pause.covers(venue, subjects)
            ),
            None,
        )

    @property
    def whole_pause(self) -> Pause | None:
        """The pause of the exam as a whole; None where there is none."""
        wholes = (pause for pause in self.pauses if not pause.venue and not pause.subject)
        return next(wholes, None)

    @cached_property
    def unbounded(self) -> Self:
        """The exam as ops may act in it: open, with nothing paused, without limits of fair use."""
        rules = FairUseRules(unpaid_holds_max=_NO_LIMIT, venue_changes_max=_NO_LIMIT)
        return replace(self, registration=Window(0, _NO_LIMIT), fair_use=rules, pauses=())

    @cached_property
    def venue_ids(self) -> frozenset[str]:
        """The ids of all venues."""
        return frozenset(venue.id for venue in self.venues)
