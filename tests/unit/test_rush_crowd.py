"""Who comes to the rehearsal, when, and with which wishes; and its figures."""

import dataclasses
from pathlib import Path

import pytest

from loadtest.rush.crowd_file import DEFAULT, read_crowd
from loadtest.rush.evidence import Arrived, Call, Evidence, Held, Looked
from loadtest.rush.exam import (
    SESSIONS,
    VENUES,
    definition,
    kept_back,
    popularity_of,
    seats_of,
)
from loadtest.rush.fairness import spearman
from loadtest.rush.figures import figures, percentile
from loadtest.rush.options import read_options
from loadtest.rush.plan import Ending, plan_of
from loadtest.rush.shape import arrived
from quota_service.definitions.reading import parse_exam
from tests.support.rush_evidence import OPENS_S, reservation

CROWD = read_crowd(DEFAULT)
PEOPLE = [plan_of(f"c0-{n}", 1, SESSIONS, VENUES, CROWD) for n in range(2000)]


def test_the_same_seed_gives_the_same_people() -> None:
    assert plan_of("c0-7", 1, SESSIONS, VENUES, CROWD) == PEOPLE[7]
    assert [plan_of(f"c0-{n}", 2, SESSIONS, VENUES, CROWD) for n in range(20)] != PEOPLE[:20]


def test_nobody_wants_two_subjects_of_one_session() -> None:
    session_of = {s: session for session, subjects in SESSIONS.items() for s in subjects}

    for plan in PEOPLE:
        sessions = [session_of[subject] for subject in plan.subjects]
        assert len(set(sessions)) == len(sessions) > 0


def test_every_manner_of_the_manual_is_there() -> None:
    assert {plan.ending for plan in PEOPLE} == set(Ending)
    assert {len(plan.subjects) for plan in PEOPLE} == {1, 2, 3}
    assert {len(plan.venues) for plan in PEOPLE} == {1, 2, 3, 4}
    assert all(len(set(plan.venues)) == len(plan.venues) for plan in PEOPLE)
    paying = sum(plan.ending is Ending.PAY for plan in PEOPLE)
    assert 0.6 < paying / len(PEOPLE) < 0.8


def test_a_venue_without_seats_is_asked_for_by_few() -> None:
    popularity = popularity_of({"jinan": {"general": 90, "qms": 9}, "hefei": {"general": 0}})

    plans = [plan_of(f"c0-{n}", 1, SESSIONS, popularity, CROWD) for n in range(2000)]

    first = sum(plan.venues[0] == "hefei" for plan in plans)
    assert 0 < first < 100


def test_the_crowd_comes_before_at_and_after_the_opening_and_whole() -> None:
    options = read_options(["--candidates", "1000"])
    times = [n / 2 for n in range(round(-2 * options.before_s), round(2 * options.open_s))]

    come = [arrived(options, at_s) for at_s in times]

    assert come == sorted(come)
    assert (come[0], arrived(options, 0), come[-1]) == (0, 450, 1000)
    assert arrived(options, 5) == 800
    assert arrived(options, 0.75 * options.open_s) == 1000
    assert arrived(options, -options.before_s / 2) == 225


def test_the_minutes_asked_for_are_shared_out() -> None:
    short, long = read_options(["--minutes", "2"]), read_options(["--minutes", "10"])

    assert long.before_s > short.before_s > 0
    more_s = (long.before_s + long.open_s) - (short.before_s + short.open_s)
    assert more_s == pytest.approx(8 * 60)


@pytest.mark.parametrize(
    "arguments", [["--minutes", "0.1"], ["--role", "worker"], ["--candidates", "0"]]
)
def test_options_that_make_no_rush_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(arguments)


@pytest.mark.parametrize(
    "exam",
    [
        *("real-exam", "ccaa-2023-1", "rush-1", "rehearsal-", "rehearsal", "Rehearsal-1"),
        *("rehearsal-1/refund", "xrehearsal-1", "rehearsal-" + "a" * 23),
    ],
)
def test_a_name_that_a_real_exam_can_have_is_refused(
    exam: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(["--exam", exam])

    assert "no name for a rehearsal" in capsys.readouterr().err


def test_each_run_has_an_exam_of_its_own_under_a_name_of_a_rehearsal() -> None:
    names = {read_options([]).exam for _ in range(10)}

    assert len(names) == 10
    assert all(read_options(["--exam", name]).exam == name for name in names)


def test_the_exam_of_the_rush_can_be_imported_and_keeps_seats_back() -> None:
    options = read_options(["--no-room", "--exam", "rehearsal-1"])
    seats = seats_of(1000)

    early = parse_exam(definition(options, OPENS_S, kept_back(seats, 0.1)))
    whole = parse_exam(definition(options, OPENS_S, seats))

    assert 900 <= sum(early.seats.values()) < sum(whole.seats.values()) <= 1100
    assert all(1 <= early.seats[quota] <= whole.seats[quota] for quota in whole.seats)


def test_the_rank_correlation_is_one_in_order_and_minus_one_backwards() -> None:
    assert spearman([(1, 10), (2, 20), (3, 30)]) == 1
    assert spearman([(1, 30), (2, 20), (3, 10)]) == -1
    assert spearman([(1, 5), (2, 5)]) is None
    # By hand: places 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert spearman([(0, 1), (1, 2), (2, 2), (3, 9)]) == pytest.approx(0.9486833)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]

    assert [percentile(values, p) for p in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([7.0], 99) == 7


def test_the_figures_tell_when_seats_went_and_count_each_order_once() -> None:
    evidence = Evidence()
    for n in range(3):
        evidence.add(Arrived(f"c-{n}", OPENS_S - 1))
        made = reservation(f"c-{n}", subjects=["general", "qms"])
        evidence.add(Held(f"c-{n}-1", OPENS_S + n, made, {}, ""))
        evidence.add(Held(f"c-{n}-1", OPENS_S + n + 0.2, made, {}, ""))
        evidence.add(Call("reserve", OPENS_S + n, 10.0 * (n + 1), 201, ""))
        evidence.add(Looked(OPENS_S + n + 0.5, 4 - 2 * n, 6, 2, int(n == 2), 0, 0.0))
    evidence.add(Call("reserve", OPENS_S + 3, 1.0, 409, "sold-out"))

    found = figures(evidence, OPENS_S)

    assert (found.arrived, found.orders_held, found.seats_taken) == (3, 3, 6)
    assert found.sold_out_s == found.mostly_sold_s == pytest.approx(2.5)
    assert found.first_quota_sold_out_s == pytest.approx(2.5)
    assert found.seats_taken_a_second == pytest.approx(6 / 2.5)
    assert found.refusals == (("reserve", "sold-out", 1),)
    (reserve,) = found.steps
    assert (reserve.count, reserve.refused, reserve.longest_ms) == (4, 1, 30.0)


@pytest.mark.parametrize(
    ("replaced", "by", "told"),
    [
        ("cheating = 0.05", "cheating = 1.4", "candidates.cheating = 1.4: must be a number from 0"),
        ("cheating = 0.05", 'cheating = "5 %"', "candidates.cheating = '5 %': must be a number"),
        ("cheating = 0.05", "cheeting = 0.05", "candidates.cheating: is missing"),
        ("watching = 0.0", "watching = 0.0\nlooking = 1", "candidates.looking = 1: unknown key"),
        ("pay = 0.70", "pay = 0.60", "holds: adds up to 0.9, and must to 1"),
        (
            "pay_late = 0.05",
            "pay_later = 0.05",
            "holds: has no 'pay_later'; it takes pay, pay_late",
        ),
        ("3 = 0.30", "three = 0.30", "subjects: has 'three'"),
        ("come = 0.80", "come = 0.40", "arrivals: `come` must rise"),
        ("at = 5", "at = -5", "arrivals: `at` must be later"),
        (
            "at = 5",
            'at = "5 s"',
            "arrivals.2.at = '5 s': must be seconds from the opening or a text",
        ),
        ("[2.0, 8.0]", "[8.0, 2.0]", "candidates.patience_s = [8.0, 2.0]: must be the least and"),
        ("orders_max = 4", "orders_max = 0", "candidates.orders_max = 0: must be a whole number"),
        ("[turns]", "[turns", "Expected ']'"),
    ],
)
def test_a_wrong_crowd_is_refused_with_its_file_key_and_value(
    replaced: str, by: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my-crowd.toml"
    text = DEFAULT.read_text()
    assert text.count(f"\n{replaced}") + text.count(f" {replaced}") >= 1
    path.write_text(text.replace(replaced, by, 1))

    with pytest.raises(SystemExit, match="2"):
        read_options(["--crowd", str(path)])

    assert f"{path}: {told}" in " ".join(capsys.readouterr().err.split())


def test_a_crowd_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(["--crowd", str(tmp_path / "none.toml")])

    assert f"{tmp_path / 'none.toml'}: No such file" in capsys.readouterr().err


def test_the_shares_and_the_curve_of_a_file_are_those_of_the_people(tmp_path: Path) -> None:
    path = tmp_path / "crowd.toml"
    text = DEFAULT.read_text()
    for one, other in (("watching = 0.0", "watching = 0.25"), ("at = 5", "at = 1")):
        text = text.replace(one, other)
    path.write_text(text)
    options = read_options(["--crowd", str(path), "--candidates", "1000"])

    people = [plan_of(f"c0-{n}", 1, SESSIONS, VENUES, options.crowd) for n in range(1000)]

    assert arrived(options, 1) == 800
    assert 200 < sum(plan.watches_only for plan in people) < 300
    # What else they want is the same as without those who only watch.
    assert [plan.venues for plan in people] == [plan.venues for plan in PEOPLE[:1000]]
    assert not any(plan.watches_only for plan in PEOPLE)


def test_a_spike_in_seconds_fits_into_a_run_that_is_shorter() -> None:
    options = dataclasses.replace(read_options(["--candidates", "1000"]), before_s=1.0, open_s=4.0)

    come = [arrived(options, n / 4) for n in range(-4, 17)]

    assert come == sorted(come)
    assert (come[4], come[-5], come[-1]) == (450, 1000, 1000)
