import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.capacity.__main__ import table_text
from loadtest.capacity.crowd import EXAMPLES, ExamCrowd, Opening, noon
from loadtest.capacity.simulation import Day, cpu_us, simulate, together
from loadtest.capacity.sizing import commits_per_s, place, size
from loadtest.capacity.units import DEFAULT, Cost, Units, UnitsError, read_units

ROOT = Path(__file__).parents[2]
UNITS = read_units()


def crowd(name: str = "one", **members: object) -> ExamCrowd:
    exam = ExamCrowd(
        name=name,
        candidates=2_000,
        seats=1_500,
        rate_per_s=50,
        curve=noon(60, 5, 120),
        ends_s=300,
        ttl_s=60,
        pay_s=(5, 40),
    )
    return dataclasses.replace(exam, **members)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "exam",
    [
        crowd(),
        crowd(rate_per_s=None),
        crowd(seats=10),
        crowd(seats=0),
        crowd(pay_share=0.0),
        crowd(pay_share=1.0),
        crowd(ends_s=20),
    ],
    ids=["plain", "no-room", "few-seats", "no-seats", "none-pays", "all-pay", "ends-early"],
)
def test_every_candidate_and_every_seat_is_somewhere_at_the_end(exam: ExamCrowd, seed: int) -> None:
    day = simulate(exam, UNITS, seed)

    day.check()
    assert day.come <= exam.candidates
    assert day.total("payment") == day.paid
    assert day.total("reserve") == day.held
    assert day.total("journal") == day.held + 2 * day.paid + day.expired


def test_everybody_comes_and_every_hold_ends_when_there_is_time() -> None:
    day = simulate(crowd(), UNITS, 1)

    assert (day.come, day.waiting, day.live) == (2_000, 0, 0)
    assert day.paid + day.expired == day.held


@pytest.mark.parametrize("lost", ["come", "refused", "seats_left"])
def test_a_candidate_or_seat_that_is_nowhere_is_told(lost: str) -> None:
    day = simulate(crowd(), UNITS, 1)

    setattr(day, lost, getattr(day, lost) + 1)

    with pytest.raises(AssertionError, match="are not"):
        day.check()


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    def requests(seed: int) -> object:
        return simulate(crowd(), UNITS, seed).requests

    assert requests(1) == requests(1)
    assert requests(1) != requests(2)


def test_nobody_is_let_in_before_the_opening_nor_faster_than_the_rate() -> None:
    day = simulate(crowd(), UNITS, 1)

    claims = [asked["claim"] for asked in day.requests]
    assert set(claims[:60]) == {0}
    assert max(claims) == 50
    assert sum(claims) == day.admitted == 2_000


def test_who_joins_before_the_opening_is_in_the_draw_and_after_it_in_the_queue() -> None:
    day = simulate(crowd(), UNITS, 1)

    assert [("draw" in asked, "join" in asked) for asked in day.requests] == [
        (second < 60, second >= 60) for second in range(360)
    ]
    assert day.total("draw") + day.total("join") == day.come


def test_polls_that_a_cache_answers_do_not_reach_the_api() -> None:
    plain, cached = (simulate(crowd(is_cached=kept), UNITS, 1) for kept in (False, True))

    assert cached.polls_max == plain.polls_max > 800
    assert max(asked["poll"] for asked in plain.requests) == plain.polls_max
    assert max(asked["poll"] for asked in cached.requests) == 10


def test_the_longest_wait_is_that_of_the_longest_queue() -> None:
    day = simulate(crowd(), UNITS, 1)

    assert day.wait_max_s == day.queue_max / 50
    assert 800 < day.queue_max < 1_700


def test_twice_the_cost_is_twice_the_cores() -> None:
    dearer = with_costs(api_us=2.0)

    one, two = (size(Opening("", [crowd()]), units, 1) for units in (UNITS, dearer))

    assert two.api_busy_cores == pytest.approx(2 * one.api_busy_cores)
    assert two.postgres_busy_cores == one.postgres_busy_cores


def test_what_costs_most_breaks_first() -> None:
    opening = Opening("", [crowd()])

    firsts = [
        size(opening, with_costs(**{part: 1_000.0}), 1).first[0]
        for part in ("redis_us", "worker_us")
    ]

    # Of API processes and workers there are as many as it takes; an exam has one primary.
    assert firsts[0] == "a Redis primary"
    assert firsts[1] in {"workers", "API processes", "Postgres"}


def test_exams_share_a_primary_while_it_bears_them_and_the_largest_may_be_alone() -> None:
    exams = [crowd(name, rate_per_s=rate) for name, rate in (("s1", 10), ("large", 50), ("s2", 10))]
    days = [simulate(exam, UNITS, 1) for exam in exams]
    loads = {day.exam.name: max(cpu_us(day, "redis_us", UNITS)) / 1e6 for day in days}

    wide = place(days, UNITS)
    narrow = place(days, dataclasses.replace(UNITS, busy_share=loads["large"] * 0.9))

    assert [sorted(names(primary.days)) for primary in wide] == [["large", "s1", "s2"]]
    assert names(narrow[0].days) == ["large"]
    assert sorted(name for primary in narrow for name in names(primary.days)) == [
        "large",
        "s1",
        "s2",
    ]
    assert narrow[0].busy_share == pytest.approx(loads["large"])


def test_seconds_of_exams_are_added_up_by_the_time_to_the_opening() -> None:
    early, late = crowd("early", curve=noon(3, 5, 120)), crowd("late", curve=noon(1, 5, 120))
    days = [Day(early), Day(late)]

    sums = together(days, [[1.0, 1.0, 1.0, 1.0], [5.0, 7.0]])

    assert sums[:5] == [1.0, 1.0, 6.0, 8.0, 0.0]


def test_payments_are_committed_in_groups_when_they_are_many() -> None:
    assert commits_per_s(10, 1, UNITS) == 10
    assert commits_per_s(100_000, 3, UNITS) == pytest.approx(3 * 2 / UNITS.group_s)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("group_max = 128", "", "group_max is missing"),
        ("group_max = 128", "group_max = 0", "group_max is 0; it must be a number above 0"),
        ("group_max = 128", "group_max = 128\ngroups = 1", "groups is no unit"),
        ("poll = {", "pol = {", "must have reserve, sold_out, draw"),
        ("poll = { api_us", "poll = { cpu_us", "cpu_us"),
        (
            "poll = { api_us = ",
            "poll = { api_us = -",
            "api_us is -.*; it must be a number, 0 or more",
        ),
        ("poll = { api_us = ", "poll = { redis_us = '1' } #", "redis_us is '1'"),
        ("[costs]", "[costs", "units.toml"),
    ],
)
def test_a_mistake_in_a_file_of_units_is_told_with_its_name(
    before: str, after: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "units.toml"
    text = DEFAULT.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")

    with pytest.raises(UnitsError, match=told):
        read_units(file)


def test_the_command_prints_a_column_for_each_opening() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.capacity", "--candidates", "5000", "--rate", "50"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("|  | 5,000 candidates |\n| --- | --- |\n| exams | one exam |")


def test_the_table_in_the_guide_is_the_one_the_command_prints() -> None:
    guide = (ROOT / "deploy" / "SIZING.md").read_text(encoding="utf-8")

    assert table_text([size(opening, UNITS, 1) for opening in EXAMPLES]) in guide


def with_costs(**factors: float) -> Units:
    """Return units some parts of whose costs are so many times as large."""
    costs = {
        kind: Cost(
            **{
                part: value * factors.get(part, 1.0)
                for part, value in dataclasses.asdict(cost).items()
            }
        )
        for kind, cost in UNITS.costs.items()
    }
    return dataclasses.replace(UNITS, costs=costs)


def names(days: object) -> list[str]:
    return [day.exam.name for day in days]  # type: ignore[attr-defined]
