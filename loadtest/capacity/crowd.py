"""Who comes to the exams of an opening, and how fast they are let in: the examples, and one's own.

The arrival curve and the shares are those of the rehearsal's `crowd.toml`, guesses about a
registration day; an exam here has one number of seats, no venues.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

Curve = Sequence[tuple[float, float]]
"""Points (seconds from the opening, share of the candidates that have come), in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamCrowd:
    """The candidates of one exam. Times are in seconds.

    With a waiting room `rate_per_s` candidates are let in each second; None is an exam without one.
    `pay_share` of the holds are paid within `pay_s`, the others expire after `ttl_s`. Everybody
    looks at the seats `looks` times and is refused `refusals` times before a hold. With `is_cached`
    a shared cache answers the polls of the waiting room, which may be a second old.
    """

    name: str
    candidates: int
    seats: int
    rate_per_s: int | None
    curve: Curve
    ends_s: int
    is_cached: bool = False
    pay_share: float = 0.8
    pay_s: tuple[int, int] = (30, 300)
    ttl_s: int = 900
    looks: float = 3.0
    refusals: float = 0.5

    @property
    def begins_s(self) -> int:
        """When the first candidate comes."""
        return int(self.curve[0][0])

    def arrived_share(self, at_s: float) -> float:
        """Return which share has come by a time."""
        for (start_s, before), (end_s, after) in itertools.pairwise(self.curve):
            if at_s <= end_s:
                passed = max(0.0, at_s - start_s) / (end_s - start_s)
                return before + (after - before) * passed
        return self.curve[-1][1]


@dataclass(frozen=True, slots=True)
class Opening:
    """Exams that open at one moment."""

    title: str
    exams: Sequence[ExamCrowd]

    @property
    def candidates(self) -> int:
        """The candidates of all exams."""
        return sum(exam.candidates for exam in self.exams)


def noon(wait_s: int, spike_s: int, tail_s: int) -> Curve:
    """Return the curve of a noon: 45 % wait before it, 35 % come at once, the rest in the tail."""
    return ((-wait_s, 0.0), (0, 0.45), (spike_s, 0.8), (tail_s, 1.0))


def exam(
    name: str,
    candidates: int,
    rate_per_s: int | None,
    *,
    wait_s: int,
    spike_s: int,
    is_cached: bool = False,
) -> ExamCrowd:
    """Return an exam with a seat for four of five, who pay; its tail is half an hour long."""
    return ExamCrowd(
        name=name,
        candidates=candidates,
        seats=candidates * 4 // 5,
        rate_per_s=rate_per_s,
        curve=noon(wait_s, spike_s, 1_800),
        ends_s=3_600,
        is_cached=is_cached,
    )


EXAMPLES = (
    Opening("one exam, no waiting room", [exam("only", 5_000, None, wait_s=300, spike_s=5)]),
    Opening(
        "eleven exams, one of 100,000",
        [
            exam("large", 100_000, 500, wait_s=900, spike_s=30),
            *(exam(f"small-{n}", 10_000, 50, wait_s=900, spike_s=30) for n in range(10)),
        ],
    ),
    Opening(
        "26 exams, one of 1,000,000, polls cached",
        [
            exam("large", 1_000_000, 2_000, wait_s=1_800, spike_s=60, is_cached=True),
            *(
                exam(f"small-{n}", 80_000, 267, wait_s=1_800, spike_s=60, is_cached=True)
                for n in range(25)
            ),
        ],
    ),
)

REHEARSAL = Opening(
    "make rush, default size",
    [
        ExamCrowd(
            name="rehearsal",
            candidates=3_000,
            seats=1_500,
            rate_per_s=48,
            curve=((-45, 0.0), (0, 0.45), (5, 0.8), (116, 1.0)),
            ends_s=155,
            pay_share=0.85,
            pay_s=(1, 30),
            ttl_s=45,
            looks=3.4,
            refusals=0.3,
        )
    ],
)
"""The crowd of the rehearsal, to compare the simulation with what `make rush` counts.

Seats are for reservations of two subjects each. Looks and refusals are those of a run."""
