"""When returned seats are dealt, and how long an offer lasts: times of day in a time zone."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from quota_service.domain.exam import QuietHours
from quota_service.waiting_list.instants import last_instant_ms
from quota_service.waiting_list.quiet_hours import deadline_ms, that_count

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
NIGHT = QuietHours("22:00", "07:00")
HOUR_MS = 3_600_000
NEVER_MS = 2**50


def at(text: str, zone: ZoneInfo = SHANGHAI, fold: int = 0) -> int:
    local = dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)
    return round(local.timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "hours", "end"),
    [
        ("2023-03-14T12:00", 2, "2023-03-14T14:00"),
        ("2023-03-14T12:00", 10, "2023-03-14T22:00"),
        ("2023-03-14T12:00", 12, "2023-03-15T09:00"),
        ("2023-03-14T23:30", 1, "2023-03-15T08:00"),
        ("2023-03-15T03:00", 1, "2023-03-15T08:00"),
        ("2023-03-15T07:00", 1, "2023-03-15T08:00"),
        ("2023-03-14T12:00", 26, "2023-03-16T08:00"),
    ],
)
def test_a_deadline_does_not_run_at_night(now: str, hours: int, end: str) -> None:
    assert deadline_ms(at(now), hours * HOUR_MS, [NIGHT], SHANGHAI, NEVER_MS) == at(end)


def test_without_quiet_hours_it_runs_all_the_time() -> None:
    now_ms = at("2023-03-14T23:00")

    assert deadline_ms(now_ms, 2 * HOUR_MS, [], SHANGHAI, NEVER_MS) == now_ms + 2 * HOUR_MS


def test_the_hours_of_the_exam_and_of_the_candidate_count_together() -> None:
    noon = QuietHours("12:00", "14:00")

    end_ms = deadline_ms(at("2023-03-14T21:00"), 7 * HOUR_MS, [NIGHT, noon], SHANGHAI, NEVER_MS)

    assert end_ms == at("2023-03-15T15:00")


def test_hours_that_overlap_count_once() -> None:
    late = QuietHours("23:00", "09:00")

    end_ms = deadline_ms(at("2023-03-14T21:00"), 2 * HOUR_MS, [NIGHT, late], SHANGHAI, NEVER_MS)

    assert end_ms == at("2023-03-15T10:00")


def test_a_deadline_is_no_later_than_the_last_moment() -> None:
    last_ms = at("2023-03-15T03:00")
    never = QuietHours("00:00", "00:00")

    assert deadline_ms(at("2023-03-14T12:00"), 24 * HOUR_MS, [NIGHT], SHANGHAI, last_ms) == last_ms
    assert deadline_ms(at("2023-03-14T12:00"), HOUR_MS, [never], SHANGHAI, last_ms) == last_ms
    assert deadline_ms(last_ms + 1, HOUR_MS, [], SHANGHAI, last_ms) == last_ms


@pytest.mark.parametrize("day", ["2023-03-25", "2023-10-28"])
def test_a_night_in_which_the_clocks_change_is_as_quiet_as_others(day: str) -> None:
    morning = f"{(dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()}T08:00"

    end_ms = deadline_ms(at(f"{day}T21:00", BERLIN), 2 * HOUR_MS, [NIGHT], BERLIN, NEVER_MS)

    assert end_ms == at(morning, BERLIN)


def test_quiet_hours_that_end_in_an_hour_that_comes_twice_end_with_the_second() -> None:
    hours = QuietHours("23:00", "02:30")

    end_ms = deadline_ms(at("2023-10-28T23:30", BERLIN), 60_000, [hours], BERLIN, NEVER_MS)

    assert end_ms == at("2023-10-29T02:31", BERLIN, fold=1)


TIMES = ("16:00", "10:00")


def test_an_instant_is_the_last_one_from_its_very_moment_on() -> None:
    ten_ms = at("2023-03-14T10:00")

    assert last_instant_ms(TIMES, SHANGHAI, ten_ms) == ten_ms
    assert last_instant_ms(TIMES, SHANGHAI, ten_ms - 1) == at("2023-03-13T16:00")
    assert last_instant_ms((), SHANGHAI, ten_ms) is None


def test_a_time_that_comes_twice_in_a_night_is_one_instant() -> None:
    first_ms, second_ms = (at("2023-10-29T02:30", BERLIN, fold) for fold in (0, 1))

    assert second_ms - first_ms == HOUR_MS
    assert last_instant_ms(("02:30",), BERLIN, second_ms) == first_ms


def test_a_time_that_a_night_leaves_out_comes_all_the_same() -> None:
    noon_ms = at("2023-03-26T12:00", BERLIN)

    assert last_instant_ms(("02:30",), BERLIN, noon_ms) == at("2023-03-26T03:30", BERLIN)


@pytest.mark.parametrize(
    ("of_candidate", "counts"),
    [("23:00-07:00", True), ("12:00-13:00", True), ("07:00-14:00", True), ("07:00-14:01", False)],
)
def test_the_quiet_hours_of_a_candidate_count_where_a_third_of_the_day_is_left(
    of_candidate: str, *, counts: bool
) -> None:
    hours = QuietHours(*of_candidate.split("-"))

    assert that_count(None, hours) == [hours]
    assert list(that_count(NIGHT, hours)) == [NIGHT] + [hours] * counts
