"""Prints what a rush found, and writes it as one page with its picture."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import orjson

from loadtest.rush.checks import Verdict
from loadtest.rush.evidence import Document, Evidence, Facts
from loadtest.rush.fairness import Fairness
from loadtest.rush.figures import PERCENTILES, Figures, figures
from loadtest.rush.goals import Reached, reached
from loadtest.rush.options import Options
from loadtest.rush.page import Table, page, text
from loadtest.rush.picture import draw
from loadtest.rush.run_file import record, write

PAGE, PICTURE, EVIDENCE = "rush.html", "rush.png", "rush.json"
_REFUSALS_SHOWN = 20


def report(
    options: Options,
    evidence: Evidence,
    facts: Facts,
    verdicts: Sequence[Verdict],
    *,
    opens_at_s: float,
    service_version: str,
) -> int:
    """Print and write the report; return the exit status, 1 when a promise or a goal failed."""
    found = figures(evidence, opens_at_s)
    goals = reached(options.goals, found)
    run = record(options, service_version, found, verdicts, goals)
    tables = [
        _summary(options, found),
        _steps(found),
        _refusals(found),
        _promises(verdicts),
    ]
    if options.has_room:
        tables.insert(3, _fairness(found.fairness))
    if goals:
        tables.append(_goals(goals))
    for table in tables:
        print(f"\n{text(table)}")
    broken = [verdict.promise for verdict in verdicts if not verdict.is_kept]
    outcome = f"broken: {', '.join(broken)}" if broken else "0 promises broken"
    if goals:
        outcome += f", {sum(not goal.is_met for goal in goals)} of {len(goals)} goals missed"
    options.folder.mkdir(parents=True, exist_ok=True)
    picture, written = options.folder / PICTURE, options.folder / PAGE
    draw(found, picture)
    if broken:
        _write_evidence(options.folder / EVIDENCE, evidence, facts)
    write(options.folder, run)
    written.write_text(
        page(f"{options.exam}: {outcome}", [*tables, _about(run)], picture), encoding="utf-8"
    )
    print(f"\n{outcome}. Report: {written}, picture: {picture}", flush=True)
    return 1 if broken or not all(goal.is_met for goal in goals) else 0


def _write_evidence(path: Path, evidence: Evidence, facts: Facts) -> None:
    """Keep what was known and what the service said, for those who look for what broke."""
    document = {"facts": dataclasses.asdict(facts), "notes": evidence.take_wire()}
    path.write_bytes(orjson.dumps(document))


def _about(run: Document) -> Table:
    rows = [(name, str(run[name])) for name in ("date", "target", "service_version", "version")]
    options = [(name, str(value)) for name, value in run["options"].items()]
    return Table("This run", ("", ""), (*rows, *options), is_text=True)


def _summary(options: Options, found: Figures) -> Table:
    def when(at_s: float | None) -> str:
        return "not reached" if at_s is None else f"{at_s:.0f} s after the opening"

    rows = [
        ("candidates who came", f"{found.arrived} of {options.candidates}"),
        ("admitted by the waiting room", str(found.admitted) if options.has_room else "no room"),
        ("orders held, seats taken", f"{found.orders_held}, {found.seats_taken}"),
        ("payments answered", str(found.payments)),
        ("95 % of the seats taken", when(found.mostly_sold_s)),
        ("sold out", when(found.sold_out_s)),
        ("first quota sold out", when(found.first_quota_sold_out_s)),
        ("half of the quotas sold out", when(found.half_of_quotas_sold_out_s)),
        ("quotas sold out at the end", f"{found.quotas_sold_out} of {found.quotas}"),
        ("seats at the end", f"{found.seats_left} left of {found.capacity}"),
        (
            "seats taken a second, until 95 %",
            f"{found.seats_taken_a_second:.1f}; at most {found.seats_taken_a_second_peak:.0f}",
        ),
        (
            "requests",
            f"{found.requests}, {found.requests_a_second_peak:.0f} in the busiest second",
        ),
    ]
    return Table("The rush", ("", ""), tuple(rows), is_text=True)


def _steps(found: Figures) -> Table:
    head = ("step", "calls", "refused", "no answer", *(f"p{p} ms" for p in PERCENTILES), "max ms")
    rows = tuple(
        (
            step.step,
            str(step.count),
            str(step.refused),
            str(step.unanswered),
            *(f"{value:.1f}" for value in step.percentiles_ms),
            f"{step.longest_ms:.0f}",
        )
        for step in found.steps
    )
    return Table("Steps", head, rows)


def _refusals(found: Figures) -> Table:
    rows = tuple((step, slug, str(count)) for step, slug, count in found.refusals[:_REFUSALS_SHOWN])
    return Table("Refusals", ("step", "slug", "times"), rows, is_text=True)


def _fairness(kinds: Sequence[Fairness]) -> Table:
    rows = tuple(
        (
            kind.kind,
            str(kind.called),
            str(kind.inversions),
            "-" if kind.rank_correlation is None else f"{kind.rank_correlation:.4f}",
        )
        for kind in kinds
    )
    head = ("queue", "called", "passed over", "rank correlation")
    return Table("The admitted order against the drawn order", head, rows)


def _goals(goals: Sequence[Reached]) -> Table:
    head = ("step", "", "goal, ms", "measured", "")
    rows = tuple(
        (
            one.goal.step,
            one.goal.measure,
            f"{one.goal.limit_ms:g}",
            "never called" if one.took_ms is None else f"{one.took_ms:.1f}",
            "reached" if one.is_met else "MISSED",
        )
        for one in goals
    )
    return Table("Goals", head, rows, is_text=True)


def _promises(verdicts: Sequence[Verdict]) -> Table:
    rows, notes = [], []
    for verdict in verdicts:
        outcome = "kept" if verdict.is_kept else "BROKEN"
        rows.append((verdict.promise, verdict.meaning, str(verdict.looked_at), outcome))
        if not verdict.is_kept:
            notes += [f"{verdict.promise}: {line}" for line in verdict.lines]
    head = ("promise", "", "looked at", "")
    return Table("Promises", head, tuple(rows), is_text=True, notes=tuple(notes))
