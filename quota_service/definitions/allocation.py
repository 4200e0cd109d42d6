"""The tables of a definition that say how seats are given out beside open sale.

Which seats wait for whom when they come back, who waits for them and by which rules, which seats
come later, which are kept for a group, and how many people a venue seats in a session. Each is
absent from an exam that has none of it.
"""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from quota_service.definitions.fields import ClockTime, Table, Time, Title
from quota_service.domain.definition import by_quota
from quota_service.domain.exam import (
    MAX_CAPACITY,
    Announce,
    ListOrder,
    QuietHours,
    ReturnedSeats,
    ReturnRule,
    SeatRelease,
    SetAside,
    Text,
    WaitingListRules,
)
from quota_service.schema import Identifier, OneOf, Whole, wrong

TIMES_MAX = 24
"""Times of a day at which returned seats are dealt out."""
RELEASES_MAX = 100
"""Seat releases of one definition."""
SET_ASIDES_MAX = 32
"""Set-asides of one definition."""
QUOTAS_MAX = 10_000
"""Quotas of one seat release or set-aside."""
_DAY_S = 86_400
_QUIET_MAX_H = 16
"""Quiet hours leave a third of the day."""


def _times(times: list[str], info: ValidationInfo) -> list[str]:
    """Return times of day in order; there are some under `at-times`, and under no other rule."""
    rule = info.data.get("rule", ReturnRule.AT_ONCE)
    if rule == ReturnRule.AT_TIMES and not times:
        raise wrong("must name at least one time of day for the rule at-times")
    if rule != ReturnRule.AT_TIMES and times:
        raise wrong(f"are for the rule at-times, not for {rule}")
    in_order = sorted(times)
    for earlier, later in pairwise(in_order):
        if earlier == later:
            raise wrong(f"has {later} twice")
    return in_order


class ReturnedTable(Table):
    """What happens with seats that come back; absent where they are on open sale at once."""

    rule: Annotated[str, OneOf(*ReturnRule)] = ReturnRule.AT_ONCE
    """`at-once`: on open sale; `list-first`: open sale gets what nobody on the waiting list can
    use; `at-times`: dealt out at `times`, to the waiting list first, the rest on open sale."""
    times: Annotated[
        list[ClockTime],
        Field(default_factory=list, max_length=TIMES_MAX, validate_default=True),
        AfterValidator(_times),
    ]
    """Of `at-times`: HH:MM in `time_zone`, each day."""

    def seats(self) -> ReturnedSeats:
        """Return the rule."""
        return ReturnedSeats(ReturnRule(self.rule), tuple(self.times))


def _some_hours(end: str, info: ValidationInfo) -> str:
    start = info.data.get("starts")
    if start is None:
        return end
    if end == start:
        raise wrong("must be another time than from")
    begins, ends = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    if (ends - begins) % (24 * 60) > _QUIET_MAX_H * 60:
        raise wrong(f"must be at most {_QUIET_MAX_H} hours after from")
    return end


class QuietHoursTable(Table):
    """When nobody is woken: the time to pay for an offered seat does not run."""

    starts: Annotated[ClockTime, Field(alias="from")]
    """HH:MM in `time_zone`."""
    ends: Annotated[ClockTime, Field(alias="to"), AfterValidator(_some_hours)]
    """HH:MM in `time_zone`; of the next day where it is not later; at most 16 hours on."""


class WaitingListTable(Table):
    """The waiting list; absent where there is none."""

    offer_ttl_s: Annotated[int, Whole(60, 30 * _DAY_S)] = _DAY_S // 2
    """Seconds to pay for an offered seat, quiet hours left out."""
    order: Annotated[str, OneOf(*ListOrder)] = ListOrder.NUMBER
    """`number`: first come; `draw`: drawn among those who came since the last dealing."""
    length_max: Annotated[int, Whole(1, MAX_CAPACITY)] = 10_000
    """Entries that may wait for one quota."""
    quiet_hours: QuietHoursTable | None = None
    """Null or absent where there are none."""

    def rules(self) -> WaitingListRules:
        """Return the rules."""
        quiet = self.quiet_hours
        return WaitingListRules(
            offer_ttl_s=self.offer_ttl_s,
            order=ListOrder(self.order),
            quiet_hours=None if quiet is None else QuietHours(quiet.starts, quiet.ends),
            length_max=self.length_max,
        )


def _some_seats(seats: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    if not seats or not all(seats.values()):
        raise wrong("must give the seats of at least one venue and subject")
    if sum(map(len, seats.values())) > QUOTAS_MAX:
        raise wrong(f"must give the seats of at most {QUOTAS_MAX} venues and subjects")
    return seats


MoreSeats = Annotated[
    dict[
        Identifier,
        Annotated[
            dict[Identifier, Annotated[int, Whole(1, MAX_CAPACITY)]],
            Field(json_schema_extra={"minProperties": 1}),
        ],
    ],
    Field(json_schema_extra={"minProperties": 1}),
    AfterValidator(_some_seats),
]
"""Seats by venue and subject, 1 to QUOTAS_MAX."""
Announced = Annotated[str, OneOf(*Announce)]


class ReleaseTable(Table):
    """More seats at a time."""

    id: Identifier
    """Id of the seat release; never used again for another one."""
    at: Time
    """When the seats come; at once where that is past."""
    announce: Announced
    """What is public before: `time`, `time-and-venues`, `everything` or `nothing`."""
    seats: MoreSeats
    """Seats that are added, by venue and subject; 10,000 quotas at most."""

    def release(self) -> SeatRelease:
        """Return the seat release."""
        return SeatRelease(self.id, self.at, Announce(self.announce), by_quota(self.seats))


class SetAsideTable(Table):
    """Seats kept for a group, which reserves with codes that ops hand out."""

    id: Identifier
    """Id of the set-aside."""
    title: Title
    until: Time
    """When what is left of them is given to everybody."""
    seats: MoreSeats
    """Seats of the quotas that are kept, by venue and subject."""

    def set_aside(self) -> SetAside:
        """Return the set-aside."""
        return SetAside(self.id, text_of(self.title), self.until, by_quota(self.seats))


Rooms = dict[str, dict[str, Annotated[int, Whole(0, MAX_CAPACITY)]]]
"""Seats of a venue in a session, whatever the subject."""


def text_of(text: str | dict[str, str]) -> Text:
    """Return a text that is plain, or given by language."""
    return Text.of({"": text} if isinstance(text, str) else text)
