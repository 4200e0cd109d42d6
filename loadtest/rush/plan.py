"""What each candidate is set on doing, drawn from their name alone.

The same seed gives the same people with the same wishes, so a run can be repeated and two versions
compared. The shares are those of the crowd (`crowd_file`).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from loadtest.rush.crowd_file import Crowd


class Ending(StrEnum):
    """What becomes of a hold."""

    PAY = "pay"
    PAY_LATE = "pay late"
    PAY_TWICE = "pay twice"
    FAIL_THEN_PAY = "a first payment fails"
    ABANDON = "abandon"
    GIVE_BACK = "give back"


class After(StrEnum):
    """What becomes of a booking."""

    KEEP = "keep"
    CHANGE_VENUE = "change venue"
    REFUND = "refund"


class Claiming(StrEnum):
    """What becomes of a turn in the waiting room."""

    AT_ONCE = "at once"
    SLOWLY = "within the grace"
    TOO_LATE = "after the grace"
    NEVER = "never"


class Cheat(StrEnum):
    """The tricks of a candidate who does not want to wait."""

    NONE = "none"
    NO_PASS = "reserve without a pass"  # noqa: S105  a trick, not a password
    FORGED_PASS = "reserve with a made-up pass"  # noqa: S105  the same
    EARLY_CLAIM = "claim before the turn"
    FORGED_TICKET = "claim with a made-up ticket"
    FOREIGN_TICKET = "claim with the ticket of another"


@dataclass(frozen=True, slots=True)
class Plan:
    """One candidate's wishes and manners; `tries_max` counts orders, the first included."""

    candidate: str
    subjects: tuple[str, ...]
    venues: tuple[str, ...]
    ending: Ending
    after: After
    claiming: Claiming
    cheat: Cheat
    presses_twice: bool
    reuses_key: bool
    is_done_aloud: bool
    tries_max: int
    patience_s: float
    watches_only: bool
    joins_list: bool


_Choice = TypeVar("_Choice")


def plan_of(
    candidate: str,
    seed: int,
    sessions: Mapping[str, Sequence[str]],
    popularity: Mapping[str, float],
    crowd: "Crowd",
) -> Plan:
    """Return the plan of a candidate.

    `sessions` are the subjects of each session, of which at most one is chosen; `popularity`
    weighs the venues.
    """
    # Not for secrets: a rush that can be repeated is the point.
    draw = random.Random(f"{seed}:{candidate}")  # noqa: S311
    manners = crowd.candidates
    cheats = [cheat for cheat in Cheat if cheat is not Cheat.NONE]
    return Plan(
        candidate=candidate,
        subjects=_subjects(draw, sessions, crowd.subjects),
        venues=_venues(draw, popularity, manners.venues_max),
        ending=_one(draw, crowd.holds),
        after=_one(draw, crowd.bookings),
        claiming=_one(draw, crowd.turns),
        cheat=draw.choice(cheats) if draw.random() < manners.cheating else Cheat.NONE,
        presses_twice=draw.random() < manners.pressing_twice,
        reuses_key=draw.random() < manners.reusing_a_key,
        is_done_aloud=draw.random() < manners.leaving_the_room,
        tries_max=draw.randint(1, manners.orders_max),
        patience_s=draw.uniform(*manners.patience_s),
        watches_only=draw.random() < manners.watching,
        joins_list=draw.random() < manners.joining_the_list,
    )


def _one(draw: random.Random, weights: Mapping[_Choice, float]) -> _Choice:
    return draw.choices(list(weights), list(weights.values()))[0]


def _subjects(
    draw: random.Random, sessions: Mapping[str, Sequence[str]], counts: Mapping[str, float]
) -> tuple[str, ...]:
    count = int(_one(draw, counts))
    chosen = draw.sample(sorted(sessions), min(count, len(sessions)))
    return tuple(draw.choice(list(sessions[session])) for session in chosen)


def _venues(
    draw: random.Random, popularity: Mapping[str, float], count_max: int
) -> tuple[str, ...]:
    """Return the first choice and the fallbacks, drawn by popularity without replacement."""
    left = dict(popularity)
    chosen: list[str] = []
    for _ in range(min(draw.randint(1, count_max), len(left))):
        venue = draw.choices(list(left), list(left.values()))[0]
        chosen.append(venue)
        del left[venue]
    return tuple(chosen)
