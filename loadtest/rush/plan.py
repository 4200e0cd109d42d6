"""What each candidate is set on doing, drawn from their name alone.

The same seed gives the same people with the same wishes, so a run can be repeated and two versions
compared. The shares are guesses about a registration day of this kind: most people want two
subjects at one of the big venues and pay; the rest does everything the operating manual warns of.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar


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


ENDINGS: Mapping[Ending, float] = {
    Ending.PAY: 0.70,
    Ending.PAY_TWICE: 0.05,
    Ending.FAIL_THEN_PAY: 0.05,
    Ending.PAY_LATE: 0.05,
    Ending.ABANDON: 0.08,
    Ending.GIVE_BACK: 0.07,
}
AFTERWARDS: Mapping[After, float] = {
    After.KEEP: 0.92,
    After.CHANGE_VENUE: 0.05,
    After.REFUND: 0.03,
}
CLAIMINGS: Mapping[Claiming, float] = {
    Claiming.AT_ONCE: 0.92,
    Claiming.SLOWLY: 0.04,
    Claiming.TOO_LATE: 0.02,
    Claiming.NEVER: 0.02,
}
_CHEATS_SHARE = 0.05
_SUBJECT_COUNTS: Mapping[int, float] = {1: 0.15, 2: 0.55, 3: 0.30}
_PRESSES_TWICE_SHARE = 0.10
_REUSES_KEY_SHARE = 0.02
_DONE_ALOUD_SHARE = 0.80
_FALLBACKS_MAX = 4
_Choice = TypeVar("_Choice")
_TRIES_MAX = 4
_PATIENCE_S = (2.0, 8.0)


def plan_of(
    candidate: str,
    seed: int,
    sessions: Mapping[str, Sequence[str]],
    popularity: Mapping[str, float],
) -> Plan:
    """Return the plan of a candidate.

    `sessions` are the subjects of each session, of which at most one is chosen; `popularity`
    weighs the venues.
    """
    # Not for secrets: a rush that can be repeated is the point.
    draw = random.Random(f"{seed}:{candidate}")  # noqa: S311
    cheats = [cheat for cheat in Cheat if cheat is not Cheat.NONE]
    return Plan(
        candidate=candidate,
        subjects=_subjects(draw, sessions),
        venues=_venues(draw, popularity),
        ending=_one(draw, ENDINGS),
        after=_one(draw, AFTERWARDS),
        claiming=_one(draw, CLAIMINGS),
        cheat=draw.choice(cheats) if draw.random() < _CHEATS_SHARE else Cheat.NONE,
        presses_twice=draw.random() < _PRESSES_TWICE_SHARE,
        reuses_key=draw.random() < _REUSES_KEY_SHARE,
        is_done_aloud=draw.random() < _DONE_ALOUD_SHARE,
        tries_max=draw.randint(1, _TRIES_MAX),
        patience_s=draw.uniform(*_PATIENCE_S),
    )


def _one(draw: random.Random, weights: Mapping[_Choice, float]) -> _Choice:
    return draw.choices(list(weights), list(weights.values()))[0]


def _subjects(draw: random.Random, sessions: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    count = draw.choices(list(_SUBJECT_COUNTS), list(_SUBJECT_COUNTS.values()))[0]
    chosen = draw.sample(sorted(sessions), min(count, len(sessions)))
    return tuple(draw.choice(list(sessions[session])) for session in chosen)


def _venues(draw: random.Random, popularity: Mapping[str, float]) -> tuple[str, ...]:
    """Return the first choice and the fallbacks, drawn by popularity without replacement."""
    left = dict(popularity)
    chosen: list[str] = []
    for _ in range(min(draw.randint(1, _FALLBACKS_MAX), len(left))):
        venue = draw.choices(list(left), list(left.values()))[0]
        chosen.append(venue)
        del left[venue]
    return tuple(chosen)
