"""Prints what openings take: three examples, one's own, or the rehearsal's to compare with it.

python -m loadtest.capacity [--units FILE] [--seed N]
python -m loadtest.capacity --candidates N [--rate N] [--wait-s N] [--spike-s N] [--cached]
python -m loadtest.capacity --rehearsal
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.capacity.crowd import EXAMPLES, REHEARSAL, Opening, exam
from loadtest.capacity.simulation import simulate
from loadtest.capacity.sizing import Sizing, size
from loadtest.capacity.units import DEFAULT, KINDS, Units, UnitsError, read_units

_CALLED_WRONGLY = 2
_MIB = 1024 * 1024

_ROWS: Sequence[tuple[str, Callable[[Sizing], str]]] = (
    ("exams", lambda s: s.opening.title),
    ("candidates let in a second", lambda s: _rate(s.opening)),
    ("longest queue", lambda s: f"{s.queue_max:,}"),
    ("longest wait", lambda s: f"{s.wait_max_s:,.0f} s"),
    ("orders, worst second", lambda s: f"{s.peaks['reserve'] + s.peaks['sold_out']:,}"),
    ("polls, worst second", lambda s: f"{s.polls_max:,}"),
    ("of them to the API", lambda s: f"{s.peaks['poll']:,}"),
    ("payments, worst second", lambda s: f"{s.peaks['payment']:,}"),
    ("API cores, worst second", lambda s: f"{s.api_busy_cores:.1f}"),
    ("API processes", lambda s: f"{s.api_processes}"),
    ("Redis primaries", lambda s: f"{len(s.primaries)}"),
    ("exams on them", lambda s: ", ".join(str(len(each.days)) for each in s.primaries)),
    ("their cores, worst second", lambda s: ", ".join(f"{p.busy_share:.2f}" for p in s.primaries)),
    ("maxmemory of a primary", lambda s: f"{s.redis_bytes / _MIB:,.0f} MiB"),
    ("Postgres cores, worst second", lambda s: f"{s.postgres_busy_cores:.1f}"),
    ("Postgres cores", lambda s: f"{s.postgres_cores}"),
    ("commits a second, at most", lambda s: f"{s.commits_per_s:,.0f}"),
    ("workers", lambda s: f"{s.workers}"),
    ("first to break", lambda s: s.first[0]),
    ("when the crowd is larger by", lambda s: f"{s.first[1]:.1f} times"),
)


def main() -> int:
    """Print the table; return 2 when a file or a number is wrong."""
    options = _options()
    try:
        units = read_units(options.units)
    except UnitsError as error:
        print(f"capacity: {error}", file=sys.stderr)
        return _CALLED_WRONGLY
    if options.rehearsal:
        print(rehearsal_text(units, options.seed))
        return 0
    openings: Sequence[Opening] = EXAMPLES
    if options.candidates is not None:
        own = exam(
            "own",
            options.candidates,
            options.rate,
            wait_s=options.wait_s,
            spike_s=options.spike_s,
            is_cached=options.cached,
        )
        openings = [Opening("one exam", [own])]
    print(table_text([size(opening, units, options.seed) for opening in openings]))
    return 0


def table_text(sizings: Sequence[Sizing]) -> str:
    """Return the table, a column for each opening, in the form of Markdown."""
    heads = [f"{sizing.opening.candidates:,} candidates" for sizing in sizings]
    lines = [["", *heads], ["---"] * (len(sizings) + 1)]
    lines += [[name, *(cell(sizing) for sizing in sizings)] for name, cell in _ROWS]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rehearsal_text(units: Units, seed: int) -> str:
    """Return what the simulation says of the default rehearsal: its requests and its end."""
    day = simulate(REHEARSAL.exams[0], units, seed)
    day.check()
    requests = [sum(asked.get(kind, 0) for kind in KINDS[:-1]) for asked in day.requests]
    lines = [
        f"candidates who came {day.come}, let in {day.admitted}",
        f"last seat taken {day.sold_at_s} s after the opening",
        f"requests {sum(requests)}, {max(requests)} in the busiest second",
        *(f"{kind} {day.total(kind)}" for kind in KINDS[:-1]),
    ]
    return "\n".join(lines)


def _rate(opening: Opening) -> str:
    rates = [each.rate_per_s for each in opening.exams]
    if None in rates:
        return "no waiting room"
    whole = sum(rate for rate in rates if rate is not None)
    return f"{whole:,}" if len(rates) == 1 else f"{whole:,}; of the largest {rates[0]:,}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity", description="Say what an opening takes."
    )
    parser.add_argument("--units", type=Path, default=DEFAULT, help="file of costs (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the chance (%(default)s)")
    parser.add_argument("--candidates", type=_count, help="of one exam, instead of the examples")
    parser.add_argument("--rate", type=_count, help="let in a second; without it no waiting room")
    parser.add_argument(
        "--wait-s", type=_count, default=900, help="time before the opening (%(default)s)"
    )
    parser.add_argument(
        "--spike-s", type=_count, default=30, help="time in which a third comes (%(default)s)"
    )
    parser.add_argument(
        "--cached", action="store_true", help="a shared cache answers the polls of the room"
    )
    parser.add_argument(
        "--rehearsal", action="store_true", help="the crowd of `make rush`, to compare with it"
    )
    return parser.parse_args()


def _count(text: str) -> int:
    """Return a number above zero."""
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
