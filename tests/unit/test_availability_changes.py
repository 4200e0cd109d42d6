"""What changed between two looks at an exam's seats, and since an earlier one."""

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.registration.availability import Availability, QuotaLeft
from quota_service.registration.availability_changes import RecentChanges
from tests.support.exams import make_exam

EXAM = make_exam()
ALL = {"jinan": 3, "tianjin": 5}


def seen(
    version: int, left: Mapping[str, int] = ALL, *, epoch: int = 1, revision: int = 0
) -> Availability:
    """An availability with so many general seats left at each venue."""
    quotas = tuple(QuotaLeft(venue, "general", n, 9) for venue, n in left.items())
    exam = dataclasses.replace(EXAM, revision=revision)
    return Availability(exam, epoch, version, version * 1000, quotas, {})


def told(changes: RecentChanges, state_id: str) -> dict[str, int] | None:
    change = changes.since(state_id)
    return None if change is None else {quota.venue: quota.remaining for quota in change.quotas}


def test_the_first_look_is_no_change() -> None:
    changes = RecentChanges(10)

    assert changes.latest is None
    assert changes.since("1-1-0") is None
    assert changes.advance(seen(1)) is None
    assert told(changes, "1-1-0") == {}


def test_a_change_has_the_quotas_that_differ_as_they_are_now() -> None:
    changes = RecentChanges(10)
    first, second = seen(1), seen(4, {**ALL, "tianjin": 4})
    changes.advance(first)

    change = changes.advance(second)

    assert change is not None
    assert (change.before, change.after) == (first, second)
    assert change.quotas == (QuotaLeft("tianjin", "general", 4, 9),)


def test_a_step_that_moved_no_seat_is_a_change_of_nothing_that_can_be_resumed_from() -> None:
    changes = RecentChanges(10)
    changes.advance(seen(1))

    change = changes.advance(seen(2))
    changes.advance(seen(3, {**ALL, "jinan": 2}))

    assert change is not None
    assert change.quotas == ()
    assert told(changes, "1-2-0") == {"jinan": 2}


def test_all_that_came_after_a_state_is_told_as_it_is_now() -> None:
    changes = RecentChanges(10)
    for availability in (
        seen(1),
        seen(2, {**ALL, "jinan": 2}),
        seen(5, {"jinan": 1, "tianjin": 4}),
        seen(6, {"jinan": 3, "tianjin": 4}),
    ):
        changes.advance(availability)

    assert told(changes, "1-1-0") == {"jinan": 3, "tianjin": 4}
    assert told(changes, "1-5-0") == {"jinan": 3}
    assert told(changes, "1-6-0") == {}


@pytest.mark.parametrize("unknown", ["1-3-0", "1-7-0", "2-2-0", "0-0-0"])
def test_a_state_nobody_looked_at_cannot_be_resumed_from(unknown: str) -> None:
    changes = RecentChanges(10)
    changes.advance(seen(2))
    changes.advance(seen(6, {**ALL, "jinan": 2}))

    assert changes.since(unknown) is None


def test_as_many_states_are_remembered_as_the_limit_says() -> None:
    changes = RecentChanges(2)
    for version in (1, 2, 3):
        changes.advance(seen(version, {**ALL, "jinan": version}))

    assert changes.since("1-1-0") is None
    assert told(changes, "1-2-0") == {"jinan": 3}


@pytest.mark.parametrize(
    "after",
    [
        seen(9, epoch=2),
        seen(4),
        seen(5, revision=1),
        seen(9, {**ALL, "beijing": 1}, revision=1),
        seen(9, {"jinan": 3}, revision=1),
        seen(9, {"tianjin": 5, "jinan": 3}, revision=1),
    ],
    ids=[
        "another epoch",
        "an earlier version",
        "a title",
        "a new quota",
        "one less",
        "another order",
    ],
)
def test_nothing_is_built_on_a_state_of_another_history(after: Availability) -> None:
    changes = RecentChanges(10)
    changes.advance(seen(5))

    assert changes.advance(after) is None
    assert changes.latest is after
    assert changes.since("1-5-0") is None
    assert told(changes, after.state_id) == {}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.data())
def test_whoever_applies_the_changes_since_a_state_has_the_latest(
    looks: list[tuple[int, int]], data: st.DataObject
) -> None:
    changes = RecentChanges(len(looks))
    states = [seen(i, {"jinan": a, "tianjin": b}) for i, (a, b) in enumerate(looks)]
    for state in states:
        changes.advance(state)
    known = data.draw(st.sampled_from(states))

    after = {quota.venue: quota.remaining for quota in known.quotas}
    after.update(told(changes, known.state_id) or {})

    assert after == dict(zip(ALL, looks[-1], strict=True))
