"""The model of an exam definition: its members, their limits, and what each of them is for.

The OpenAPI document has its schema from here. What no member says by itself (a subject names a
session of the same exam, a quota is given once) is checked in `reading`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from quota_service.definitions.allocation import (
    RELEASES_MAX,
    SET_ASIDES_MAX,
    ReleaseTable,
    ReturnedTable,
    Rooms,
    SetAsideTable,
    WaitingListTable,
    text_of,
)
from quota_service.definitions.fields import (
    NoticeText,
    Rate,
    Seats,
    Table,
    Time,
    Title,
    Zone,
    form_by_type,
    later_than,
    not_less_than,
    not_more_than,
)
from quota_service.definitions.sources import SourceMember
from quota_service.domain.definition import by_quota
from quota_service.domain.exam import (
    MAX_PASS_TTL_S,
    MAX_SESSIONS,
    MAX_SUBJECTS,
    MAX_VENUES,
    Exam,
    FairUseRules,
    Fee,
    HoldRules,
    Notice,
    Quota,
    Session,
    Subject,
    Venue,
    WaitingRoomRules,
    Window,
)
from quota_service.schema import FORM, Currency, Identifier, Matching, Whole

_FAIR_USE = FairUseRules()
_MONTH_S = 31 * 86_400


class WindowTable(Table):
    """A span of time."""

    opens_at: Time
    """First moment inside the window."""
    closes_at: Annotated[Time, later_than("opens_at")]
    """First moment after the window."""

    def window(self) -> Window:
        """Return the window."""
        return Window(self.opens_at, self.closes_at)


class FeeTable(Table):
    """What one subject costs one candidate."""

    amount: Annotated[int, Whole(0, 10_000_000)]
    """In minor units (fen)."""
    currency: Currency


class HoldTable(Table):
    """How long an unpaid hold lives."""

    ttl_s: Annotated[int, Whole(1, 86_400)]
    """Seconds from the reservation to its deadline."""
    checkout_grace_s: Annotated[int, Whole(0, 86_400)] = 600
    """Seconds the deadline moves out, once, when payment begins."""
    expiry_slack_s: Annotated[int, Whole(0, 60)] = 5
    """Seconds after the deadline before the seats go back at the earliest, so that a payment
    already under way can arrive."""


class FairUseTable(Table):
    """What keeps one candidate from having seats that others would pay for."""

    unpaid_holds_max: Annotated[int, Whole(1, 1000)] = _FAIR_USE.unpaid_holds_max
    """Holds of a candidate that may end unpaid without a pause."""
    unpaid_pause_s: Annotated[int, Whole(1, _MONTH_S)] = _FAIR_USE.unpaid_pause_s
    """First pause, in seconds; doubled by each further one."""
    unpaid_pause_max_s: Annotated[int, Whole(1, _MONTH_S), not_less_than("unpaid_pause_s")] = (
        _FAIR_USE.unpaid_pause_max_s
    )
    """Longest pause, in seconds."""
    venue_changes_max: Annotated[int, Whole(0, 1000)] = _FAIR_USE.venue_changes_max
    """How often a reservation can change its venue."""
    key_share_max_percent: Annotated[int, Whole(1, 100)] = _FAIR_USE.key_share_max_percent
    """Share of a quota's seats one API key may have in unpaid holds."""

    def rules(self) -> FairUseRules:
        """Return the rules; a default gives way to the rule that is given."""
        longest_s = max(self.unpaid_pause_max_s, self.unpaid_pause_s)
        return FairUseRules(**{**self.model_dump(), "unpaid_pause_max_s": longest_s})


def _may_be_absent(schema: JsonDict) -> None:
    """Say in the schema of a waiting room that an answer may be without `source`."""
    required = cast("list[str]", schema.get("required", []))
    if "source" in required:
        schema["required"] = [name for name in required if name != "source"]


class WaitingRoomTable(Table):
    """How the waiting room lets candidates in; absent where there is none."""

    model_config = ConfigDict(json_schema_extra=_may_be_absent)

    rate_per_s: Rate = 20.0
    """Candidates let in a second at the start."""
    rate_max_per_s: Annotated[Rate, not_less_than("rate_per_s")] = 1000.0
    """The most a second."""
    rate_min_per_s: Annotated[Rate, not_more_than("rate_per_s")] = 1.0
    """The least a second."""
    places_max: Annotated[int, Whole(1, 1_000_000)] = 5000
    """Candidates with a place at once."""
    pass_ttl_s: Annotated[int, Whole(30, MAX_PASS_TTL_S)] = 600
    """Life of a pass, in seconds."""
    idle_s: Annotated[int, Whole(1, MAX_PASS_TTL_S), not_more_than("pass_ttl_s")] = 300
    """Seconds unused after which a place is free for others."""
    claim_grace_s: Annotated[int, Whole(1, 86_400)] = 300
    """Seconds after a turn came in which it can be claimed."""
    source: SourceMember | None = None
    """The public source of randomness of the draw; without one the seed alone decides it."""

    def rules(self) -> WaitingRoomRules:
        """Return the rules; a default gives way to the rule that is given."""
        rate = self.rate_per_s
        bounds = {
            "rate_max_per_s": max(self.rate_max_per_s, rate),
            "rate_min_per_s": min(self.rate_min_per_s, rate),
            "idle_s": min(self.idle_s, self.pass_ttl_s),
        }
        given = {**self.model_dump(exclude={"source"}), **bounds}
        source = None if self.source is None else self.source.source()
        return WaitingRoomRules(**given, source=source)


class NoticeTable(Table):
    """The notice a candidate accepts when reserving."""

    version: Annotated[
        str,
        Matching(
            re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII), "1 to 32 of A-Z, a-z, 0-9, ., _ and -"
        ),
    ]
    """A new text has a new version."""
    text: NoticeText


class SessionTable(Table):
    """One sitting."""

    id: Identifier
    """Id of the session."""
    title: Title
    starts_at: Time
    """Start."""
    ends_at: Annotated[Time, later_than("starts_at")]
    """End."""


class SubjectTable(Table):
    """One subject."""

    id: Identifier
    """Id of the subject."""
    title: Title
    session: Identifier
    """Id of the session it sits in."""


class VenueTable(Table):
    """One venue."""

    id: Identifier
    """Id of the venue."""
    title: Title


class _Row(Table):
    venue: Identifier
    """Its id."""
    subject: Identifier
    """Its id."""


class SeatsRow(_Row):
    """The seats of one subject at one venue."""

    seats: Seats


class CapacityRow(_Row):
    """The seats of one subject at one venue."""

    capacity: Seats

    @property
    def seats(self) -> int:
        """The capacity."""
        return self.capacity


def _row_form(row: Any) -> str | None:
    # The availability answer calls the same figure `capacity`.
    if not isinstance(row, dict):
        return None
    return "<capacity>" if "capacity" in row and "seats" not in row else "<seats>"


_ROW_FORM = Discriminator(_row_form, custom_error_type=FORM, custom_error_message="must be a table")
_SeatsTable = Annotated[
    dict[str, dict[str, Seats]],
    Field(json_schema_extra={"minProperties": 1}),
    Tag("<table>"),
]
_SeatsRows = Annotated[
    list[
        Annotated[
            Annotated[SeatsRow, Tag("<seats>")] | Annotated[CapacityRow, Tag("<capacity>")],
            _ROW_FORM,
        ]
    ],
    Field(json_schema_extra={"minItems": 1}),
    Tag("<rows>"),
]


SeatsMember = Annotated[
    _SeatsTable | _SeatsRows,
    form_by_type({dict: "<table>", list: "<rows>"}, "must be a table or a list"),
]


def optional(*names: str) -> Callable[[JsonDict], None]:
    """Return what says in a schema that members may be left out."""

    def change(schema: JsonDict) -> None:
        members = cast("JsonDict", schema["properties"])
        schema["required"] = [name for name in members if name not in names]

    return change


class ExamMembers(Table):
    """What a definition and an answer of the API have in common."""

    id: Identifier
    """Id of the exam."""
    title: Title
    time_zone: Zone
    """IANA name of the time zone of the exam, for showing its times."""
    registration: WindowTable
    """When reservations are taken."""
    refund: WindowTable
    """When a confirmed reservation can be refunded."""
    fee: FeeTable
    hold: HoldTable
    fair_use: Annotated[FairUseTable, Field(default_factory=FairUseTable)]
    waiting_room: Annotated[WaitingRoomTable, Field(default_factory=WaitingRoomTable)]
    returned: Annotated[ReturnedTable, Field(default_factory=ReturnedTable)]
    waiting_list: Annotated[WaitingListTable, Field(default_factory=WaitingListTable)]
    notice: NoticeTable
    sessions: Annotated[list[SessionTable], Field(min_length=1, max_length=MAX_SESSIONS)]
    """Sittings; a candidate takes at most one subject in each."""
    subjects: Annotated[list[SubjectTable], Field(min_length=1, max_length=MAX_SUBJECTS)]
    """What can be taken."""
    venues: Annotated[list[VenueTable], Field(min_length=1, max_length=MAX_VENUES)]
    """Where the exam is taken."""
    rooms: Annotated[Rooms, Field(default_factory=dict)]
    """Seats of a venue in a session, whatever is taken, as venue, session, seats; absent where
    there is no such limit."""


OPTIONAL = ("fair_use", "waiting_room", "returned", "waiting_list", "rooms")
"""Members that a definition may leave out."""


class ExamDefinition(ExamMembers):
    """An exam as its organiser defines it: what is answered for an exam, and all of its seats.

    Of releases and set-asides an answer has only what is public.

    A `PUT` has the id in its address, and may leave it out.
    """

    model_config = ConfigDict(
        json_schema_extra=optional(
            "id", *OPTIONAL, "releases", "set_asides", "server_time", "pauses", "closed"
        )
    )

    seats: SeatsMember
    """The seats of each quota, as venue, subject, seats or as rows."""
    releases: Annotated[list[ReleaseTable], Field(default_factory=list, max_length=RELEASES_MAX)]
    """More seats, each at its time."""
    set_asides: Annotated[
        list[SetAsideTable], Field(default_factory=list, max_length=SET_ASIDES_MAX)
    ]
    """Seats of the quotas that are kept for a group."""
    server_time: Any = None
    """Ignored, so that an answer can be sent back."""
    pauses: Any = None
    """Ignored as well."""
    closed: Any = None
    """Ignored as well."""

    def exam(self, seats: Mapping[Quota, int]) -> Exam:
        """Return the exam with its seats; with a waiting room and list if the definition has."""
        has_room = "waiting_room" in self.model_fields_set
        has_list = "waiting_list" in self.model_fields_set
        return Exam(
            id=self.id,
            title=text_of(self.title),
            time_zone=self.time_zone.key,
            registration=self.registration.window(),
            refund=self.refund.window(),
            hold=HoldRules(**self.hold.model_dump()),
            fee=Fee(self.fee.amount, self.fee.currency),
            notice=Notice(self.notice.version, text_of(self.notice.text)),
            sessions=tuple(
                Session(each.id, text_of(each.title), each.starts_at, each.ends_at)
                for each in self.sessions
            ),
            subjects=tuple(
                Subject(each.id, text_of(each.title), each.session) for each in self.subjects
            ),
            venues=tuple(Venue(each.id, text_of(each.title)) for each in self.venues),
            seats=seats,
            waiting_room=self.waiting_room.rules() if has_room else None,
            fair_use=self.fair_use.rules(),
            returned=self.returned.seats(),
            waiting_list=self.waiting_list.rules() if has_list else None,
            releases=tuple(each.release() for each in self.releases),
            set_asides=tuple(each.set_aside() for each in self.set_asides),
            ceilings={
                (venue, session): seats
                for venue, sessions in self.rooms.items()
                for session, seats in sessions.items()
            },
        )


def capacities(seats: dict[str, dict[str, int]] | list[SeatsRow | CapacityRow]) -> dict[Quota, int]:
    """Return the capacity of each quota that seats of either form give."""
    if isinstance(seats, list):
        return {Quota(row.venue, row.subject): row.seats for row in seats}
    return by_quota(seats)
