"""Which seats a set-aside that grows takes from those on sale, and which are new."""

import dataclasses
from collections.abc import Mapping

import pytest

from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.set_asides import StoredSetAside
from quota_service.registration.level_set_asides import growing
from quota_service.seats.set_asides import KeptSeats
from tests.support.exams import make_exam

OLD = make_exam()
GENERAL = Quota("jinan", "general")
"""Three seats."""
KNOWN = {"staff": {GENERAL: KeptSeats(1, 0)}}


def stored(**seats: int) -> list[StoredSetAside]:
    return [StoredSetAside(id_, 0, {GENERAL: count}, is_over=False) for id_, count in seats.items()]


def with_seats(count: int, ceilings: Mapping[tuple[str, str], int] | None = None) -> Exam:
    seats = {**OLD.seats, GENERAL: count}
    return dataclasses.replace(OLD, seats=seats, ceilings=ceilings or {})


@pytest.mark.parametrize(
    ("kept", "new", "taken"),
    [
        ({"staff": 1}, with_seats(3), {}),
        ({"staff": 0}, with_seats(3), {}),
        ({"staff": 3}, with_seats(3), {"staff": 3}),
        ({"staff": 3}, with_seats(4), {"staff": 2}),
        ({"staff": 3}, with_seats(5), {}),
        ({"staff": 3}, with_seats(2), {"staff": 3}),
        ({"staff": 2, "press": 2}, with_seats(5), {"press": 1}),
        ({"staff": 3}, with_seats(5, {("jinan", "day1-am"): 9}), {"staff": 3}),
        ({"staff": 3}, with_seats(5, {("jinan", "day1-pm"): 9}), {}),
    ],
)
def test_new_seats_are_used_before_those_on_sale(
    kept: Mapping[str, int], new: Exam, taken: Mapping[str, int]
) -> None:
    wanted = growing(OLD, new, stored(**kept), KNOWN)

    assert wanted == ({GENERAL: taken} if taken else {})


def test_a_set_aside_that_is_over_takes_nothing() -> None:
    over = [dataclasses.replace(stored(staff=3)[0], is_over=True)]

    assert growing(OLD, OLD, over, {}) == {}
