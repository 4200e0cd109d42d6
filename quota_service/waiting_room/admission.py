"""How fast the waiting room admits and how far it goes on: one decision a second, of plain values.

The rate rises by a share of itself each second, the less the nearer the load is to its target, and
falls at once when the load is above it. What a candidate does to the load shows only when they have
chosen their seats, so the climb is slow, and a fall is given time to show before the next: a rate
that falls every second until then ends at its least, and climbs for minutes. It rises only while it
is what limits admission, so that an empty room, or one whose places are taken, does not earn a rate
that nothing has put to the test.

No fault here opens the room. Without signals the rate does not rise, and soon admission
stops; a paused or full room admits no candidate.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from quota_service.waiting_room.signals import Load, Targets

RANK_END = 2**256 - 1
"""The last rank there can be: a threshold at it has admitted the whole draw."""

_RANK_BITS = 256
_CALM = 0.9
"""Up to this load the rate rises; between here and 1 it is as it should be, and stays."""
_LEFT_LEAST, _LEFT_MOST = 0.7, 0.9
"""How much of the rate a fall leaves."""
_FAILING = 0.5
"""From this failure rate on candidates cannot do what they were admitted for."""
_DRAW_TIME_S = 5.0
"""The draw takes at least so long, however few are thought to be in it: the claims of its first
seconds correct a count that was lost with Redis."""


class Limit(StrEnum):
    """What decided how many are admitted in a step."""

    RATE = "rate"
    PLACES = "places"
    DEMAND = "demand"
    PAUSED = "paused"
    SILENCE = "silence"
    NOT_OPEN = "not open"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the exam and the settings allow; rates in people a second.

    `rise_max` is the largest share the rate rises by in a second. After a fall it does not fall
    again for `fall_effect_s`, the time in which those admitted before reach the reservation.
    """

    targets: Targets
    rate_min: float
    rate_max: float
    places_max: int
    rise_max: float
    fall_effect_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a room.

    `fixed_rate` is what ops have set, None to adapt. `carry` is the part of a person that the rate
    has earned and that could not be admitted yet.
    """

    rate: float
    fixed_rate: float | None
    is_paused: bool
    threshold: int
    serving: int
    carry: float = 0.0
    since_fall_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Demand:
    """Who waits, and who is inside.

    `drawn` estimates the candidates in the draw; `claimed` counts those who ever claimed. Numbers
    were handed out up to `last_number`. `places` are live; `coming` were just admitted and
    may still claim.
    """

    drawn: int
    claimed: int
    last_number: int
    places: int
    coming: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a decision comes to.

    It admits `people` as far as is known. `is_healthy` says whether its time counts towards the
    grace of those who had their turn.
    """

    rate: float
    threshold: int
    serving: int
    people: float
    limit: Limit
    is_healthy: bool = False
    carry: float = 0.0
    has_fallen: bool = False


def decide(
    progress: Progress, demand: Demand, load: Load, policy: Policy, elapsed_s: float
) -> Step:
    """Return the next step; `elapsed_s` is the time it makes up for, which the caller bounds."""
    if progress.is_paused:
        return _no_step(progress, Limit.PAUSED)
    if load.silent_s > policy.targets.stop_after_s:
        return _no_step(progress, Limit.SILENCE)
    drawn = _drawn(progress.threshold, demand)
    free = max(0.0, policy.places_max - demand.places - demand.coming)
    behind = max(0, demand.last_number - progress.serving)
    waiting = _left_in_draw(progress.threshold, drawn) + behind
    rate = _rate_in_force(progress, policy)
    limit = _tightest(rate * elapsed_s + progress.carry, free, waiting)
    is_too_much = _is_too_much(progress, load, policy)
    rate = _next_rate(progress, load, policy, elapsed_s, limit)
    people = min(rate * elapsed_s + progress.carry, free)
    threshold, from_draw = _go_on_in_draw(progress.threshold, drawn, people, elapsed_s)
    left = people - from_draw if threshold == RANK_END else 0.0
    numbers = min(math.floor(left), behind)
    is_behind = limit is Limit.RATE and threshold == RANK_END
    return Step(
        rate=rate,
        threshold=threshold,
        serving=progress.serving + numbers,
        people=from_draw + numbers,
        limit=limit,
        is_healthy=load.silent_s <= policy.targets.hold_after_s and load.failure_rate < _FAILING,
        carry=min(left - numbers, 1.0) if is_behind else 0.0,
        has_fallen=is_too_much,
    )


def _no_step(progress: Progress, limit: Limit) -> Step:
    return Step(progress.rate, progress.threshold, progress.serving, 0.0, limit)


def _rate_in_force(progress: Progress, policy: Policy) -> float:
    """Return what ops have set, else the adapted rate within its limits."""
    if progress.fixed_rate is not None:
        return progress.fixed_rate
    return min(max(progress.rate, policy.rate_min), policy.rate_max)


def _is_too_much(progress: Progress, load: Load, policy: Policy) -> bool:
    """Return whether the rate has to fall now."""
    if progress.fixed_rate is not None or load.value <= 1:
        return False
    return progress.since_fall_s >= policy.fall_effect_s


def _next_rate(
    progress: Progress, load: Load, policy: Policy, elapsed_s: float, limit: Limit
) -> float:
    rate = _rate_in_force(progress, policy)
    if _is_too_much(progress, load, policy):
        left = min(max(1 / load.value, _LEFT_LEAST), _LEFT_MOST)
        return max(rate * left, policy.rate_min)
    is_heard = load.is_complete and load.silent_s <= policy.targets.hold_after_s
    is_tested = limit is Limit.RATE and progress.fixed_rate is None
    if is_heard and is_tested and load.value < _CALM:
        rise = policy.rise_max * elapsed_s * (1 - load.value / _CALM)
        return min(rate * (1 + rise), policy.rate_max)
    return rate


def _tightest(earned: float, free: float, waiting: float) -> Limit:
    if free < min(earned, waiting):
        return Limit.PLACES
    return Limit.DEMAND if waiting < earned else Limit.RATE


def _drawn(threshold: int, demand: Demand) -> float:
    """Return how many are in the draw: as counted, or as many as the claims so far prove."""
    share = threshold / RANK_END
    proven = demand.claimed - 3 * math.sqrt(demand.claimed) - 3  # three deviations below
    return max(float(demand.drawn), proven / share if 0 < share < 1 else 0.0)


def _left_in_draw(threshold: int, drawn: float) -> float:
    return drawn * ((RANK_END - threshold) / RANK_END)


def _go_on_in_draw(
    threshold: int, drawn: float, people: float, elapsed_s: float
) -> tuple[int, float]:
    """Return the threshold after a step, and how many people of the draw that admits."""
    if threshold == RANK_END or people <= 0:
        return threshold, 0.0
    most = min(1.0, elapsed_s / _DRAW_TIME_S)
    share = min(people / drawn, most) if drawn > 0 else most
    # The mantissa of a float is finer than the difference of two ranks.
    moved = min(threshold + int(math.ldexp(share, _RANK_BITS)), RANK_END)
    left = _left_in_draw(threshold, drawn)
    return moved, left if moved == RANK_END else left - _left_in_draw(moved, drawn)
