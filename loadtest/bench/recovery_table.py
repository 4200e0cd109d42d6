"""What the rounds of a loss measured, and the table of it: one line a case and size."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.bench.losses import Case
from loadtest.bench.table import Spread

_HEAD = ("case", "bookings", "steps lost", "way", "seconds", "wanted", "", "missing", "audit")


@dataclass(frozen=True, slots=True)
class Round:
    """One loss. `seconds` are from the primary's answer to the first reservation served.

    They are `noticed_s` until a recovery began, `recovered_s` until the shard was open in Postgres,
    and `served_s` until a request was answered 201. `acknowledged` holds and `paid` bookings were
    looked for.
    """

    case: Case
    bookings: int
    seconds: float
    noticed_s: float
    recovered_s: float
    ways: tuple[str, ...]
    steps_lost: int
    bookings_written: int
    holds_written: int
    acknowledged: int
    missing: int
    paid: int
    bookings_missing: int
    differences: tuple[str, ...]

    @property
    def served_s(self) -> float:
        """From the shard's opening to the first reservation, in seconds."""
        return self.seconds - self.noticed_s - self.recovered_s

    @property
    def way(self) -> str:
        """How the shard was recovered; every recovery of a round, if there were several."""
        return ", then ".join(self.ways)

    @property
    def doubts(self) -> list[str]:
        """What may not be."""
        name, found = f"{self.case.title}, {self.bookings:,} bookings", []
        if self.case.keeps_all and self.missing:
            found.append(f"{name}: {self.missing} acknowledged holds are missing")
        if self.bookings_missing:
            found.append(f"{name}: {self.bookings_missing} acknowledged bookings are missing")
        return found + [f"{name}: audit: {difference}" for difference in self.differences]


def table_text(rounds: Sequence[Round]) -> str:
    """Return the table, below each line where its seconds went."""
    lines: list[tuple[str, ...]] = [_HEAD]
    notes = [""]
    for some in _by_case(rounds):
        case, seconds = some[0].case, _spread(some, "seconds")
        wanted, verdict = "", ""
        if case.wanted is not None:
            wanted = case.wanted.text
            verdict = "reached" if case.wanted.is_reached_by(seconds.median) else "MISSED"
        lines.append(
            (
                case.title,
                f"{some[0].bookings:,}",
                f"{max(each.steps_lost for each in some):,}",
                _ways(some),
                seconds.text(),
                wanted,
                verdict,
                f"{max(each.missing for each in some)}",
                "clean" if not any(each.differences for each in some) else "DIFFERS",
            )
        )
        parts = ", ".join(
            f"{part} {_spread(some, f'{part}_s').text()}"
            for part in ("noticed", "recovered", "served")
        )
        held, paid = sum(e.acknowledged for e in some), sum(e.paid for e in some)
        written = f"{max(e.bookings_written for e in some):,} bookings and "
        written += f"{max(e.holds_written for e in some):,} holds written"
        notes.append(
            f"    {parts}; {written}; {held:,} holds and {paid:,} payments acknowledged; "
            f"{len(some)} rounds"
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line, note in zip(lines, notes, strict=True):
        cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        texts += ["  ".join(cells).rstrip(), *([note] if note else [])]
    return "\n".join(texts)


def document(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Return the table as JSON has it: spreads over the rounds of each case and size."""
    return [
        {
            "case": some[0].case.title,
            "bookings": some[0].bookings,
            "rounds": len(some),
            "wanted_s": some[0].case.wanted and some[0].case.wanted.limit,
            "ways": [each.way for each in some],
            **{
                name: _spread(some, name)
                for name in (
                    *("seconds", "noticed_s", "recovered_s", "served_s", "steps_lost"),
                    *("bookings_written", "holds_written", "acknowledged", "missing"),
                    *("paid", "bookings_missing"),
                )
            },
            "audit": [list(each.differences) for each in some],
        }
        for some in _by_case(rounds)
    ]


def _by_case(rounds: Sequence[Round]) -> list[list[Round]]:
    """Return the rounds of each size and case, in the order they were run."""
    grouped = itertools.groupby(rounds, lambda each: (each.bookings, each.case.title))
    return [list(some) for _, some in grouped]


def _spread(rounds: Sequence[Round], name: str) -> Spread:
    return Spread.of([getattr(each, name) for each in rounds])


def _ways(rounds: Sequence[Round]) -> str:
    counts = Counter(each.way for each in rounds)
    if len(counts) == 1:
        return rounds[0].way
    return ", ".join(f"{way} ({count})" for way, count in counts.items())
