"""Whether the waiting room was fair: the order people were called in against the drawn order.

The drawn order is all tickets of the draw by rank, then all numbers. People poll at different
moments, so the moment each of them *noticed* says little; what must never happen is that a
candidate waits after one behind them was called. That is counted exactly, but for the second a
public document may be old. The ranks are worked out here anew from the seed that was revealed.
"""

import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.rush.evidence import Claimed, Evidence, Facts, Ticketed, Turn

REFRESH_S = 2.0
"""How old the public document may be: refreshed each second, and a second in any cache."""

DRAW, NUMBER = "draw", "number"
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Fairness:
    """The figures of one kind of ticket: `inversions` are people passed over."""

    kind: str
    called: int
    inversions: int
    rank_correlation: float | None


def fairness(evidence: Evidence) -> list[Fairness]:
    """Return the figures for the draw and for the numbers."""
    claimed_s = {(claim.candidate, claim.kind): claim.at_s for claim in evidence.of(Claimed)}
    found = []
    for kind in (DRAW, NUMBER):
        turns = _in_order([turn for turn in evidence.of(Turn) if turn.kind == kind])
        pairs = [
            (float(place), claimed_s[turn.candidate, kind])
            for place, turn in enumerate(turns)
            if (turn.candidate, kind) in claimed_s
        ]
        called = sum(turn.called_s is not None for turn in turns)
        passed_over = sum(1 for finding in _passed_over(turns) if finding is not None)
        found.append(Fairness(kind, called, passed_over, spearman(pairs)))
    return found


def fair_order(evidence: Evidence, _facts: Facts) -> Iterator[str | None]:
    """No candidate is answered to wait after one behind them was called."""
    yield from _passed_over(_in_order(evidence.of(Turn)))


def fair_ranks(evidence: Evidence, facts: Facts) -> Iterator[str | None]:
    """Work out every rank from the seed, and hold the seed against its commitment."""
    if facts.room is None:
        return
    exam, seed_text = facts.exam["id"], facts.room["seed"]
    if seed_text is None:
        yield "the seed is not revealed after the opening"
        return
    seed = bytes.fromhex(seed_text)
    committed = facts.room["seed_commitment"]
    wrong = hashlib.sha256(seed).hexdigest() != committed
    yield f"the seed revealed is not the one committed to, {committed}" if wrong else None
    for turn in evidence.of(Turn):
        if turn.kind == DRAW:
            wrong = turn.rank != rank_of(seed, exam, turn.candidate)
            yield f"{turn.candidate} was ranked {turn.rank}" if wrong else None
    yield from _numbers_once(evidence)


def _numbers_once(evidence: Evidence) -> Iterator[str | None]:
    """Yield for each number whether it is one person's; asking twice gives no second one."""
    holders: dict[int, str] = {}
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    waits = Counter(turn.candidate for turn in evidence.of(Turn) if turn.kind == NUMBER)
    for ticket in evidence.of(Ticketed):
        if ticket.kind == DRAW and ticket.rank is not None:
            yield f"{ticket.candidate} got a rank before the opening"
        if ticket.number is not None:
            numbers[ticket.candidate].add(ticket.number)
            holder = holders.setdefault(ticket.number, ticket.candidate)
            wrong = holder != ticket.candidate
            told = f"number {ticket.number} went to {holder} and to {ticket.candidate}"
            yield told if wrong else None
    for candidate, held in numbers.items():
        if len(held) > max(1, waits[candidate]):
            yield f"{candidate} was given {len(held)} numbers for {waits[candidate]} waits"


def rank_of(seed: bytes, exam: str, candidate: str) -> str:
    """Return the rank that a seed draws for a candidate, 64 hex digits."""
    return hmac.new(seed, (exam + candidate).encode(), hashlib.sha256).hexdigest()


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the rank correlation of pairs, None for fewer than two different values."""
    if len(pairs) < _PAIR:
        return None
    left, right = (_places([pair[side] for pair in pairs]) for side in (0, 1))
    mean = (len(pairs) - 1) / 2
    shared = sum((a - mean) * (b - mean) for a, b in zip(left, right, strict=True))
    spread = [sum((place - mean) ** 2 for place in places) for places in (left, right)]
    return None if not all(spread) else shared / (spread[0] * spread[1]) ** 0.5


def _in_order(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns in the drawn order: the draw by rank, then the numbers."""
    drawn = [turn for turn in turns if turn.kind == DRAW and turn.rank is not None]
    numbered = [turn for turn in turns if turn.kind == NUMBER]
    return [
        *sorted(drawn, key=lambda turn: turn.rank or ""),
        *sorted(numbered, key=lambda turn: turn.number or 0),
    ]


def _passed_over(turns: Sequence[Turn]) -> Iterator[str | None]:
    """Yield for each in order whether one behind was called while they were to wait."""
    first_behind_s = float("inf")
    for turn in reversed(turns):
        waited_s = turn.waited_s
        if waited_s is not None and waited_s > first_behind_s + REFRESH_S:
            over_s = waited_s - first_behind_s
            yield f"{turn.candidate} waited {over_s:.1f} s after one behind was called"
        else:
            yield None
        if turn.called_s is not None:
            first_behind_s = min(first_behind_s, turn.called_s)


def _places(values: Sequence[float]) -> list[float]:
    """Return the place of each value in their order; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for at in order[start:end]:
            places[at] = (start + end - 1) / 2
        start = end
    return places
