"""The waiting room in a definition: its defaults, its limits, and what a change of it says."""

import dataclasses
from typing import Any

import pytest

from quota_service.definitions.reading import parse_exam
from quota_service.domain.changes import plan_changes
from quota_service.domain.definition import DefinitionError, exam_document
from quota_service.domain.exam import WaitingRoomRules
from tests.support.exams import exam_definition

WITHOUT = exam_definition()


def parsed(rules: Any) -> WaitingRoomRules:
    found = parse_exam({**WITHOUT, "waiting_room": rules}).waiting_room
    assert found is not None
    return found


def test_an_exam_has_no_waiting_room_unless_its_definition_says_so() -> None:
    exam = parse_exam(WITHOUT)

    assert exam.waiting_room is None
    assert "waiting_room" not in exam_document(exam)


def test_every_rule_has_a_default() -> None:
    assert parsed({}) == WaitingRoomRules(
        rate_per_s=20,
        rate_max_per_s=1000,
        rate_min_per_s=1,
        places_max=5000,
        pass_ttl_s=600,
        idle_s=300,
        claim_grace_s=300,
    )


def test_a_default_gives_way_to_the_rule_that_is_given() -> None:
    assert parsed({"rate_per_s": 2000}).rate_max_per_s == 2000
    assert parsed({"rate_per_s": 0.5}).rate_min_per_s == 0.5
    assert parsed({"pass_ttl_s": 60}).idle_s == 60


@pytest.mark.parametrize("rate", [1, 1.0, 0.25])
def test_a_rate_is_any_number_and_equal_numbers_are_equal_rules(rate: float) -> None:
    rules = parsed({"rate_per_s": rate, "rate_min_per_s": 0.1})

    assert rules.rate_per_s == rate
    assert isinstance(rules.rate_per_s, float)


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        (None, "waiting_room"),
        (True, "waiting_room"),
        ([], "waiting_room"),
        ({"rate": 20}, "waiting_room.rate"),
        ({"rate_per_s": 0}, "waiting_room.rate_per_s"),
        ({"rate_per_s": -1}, "waiting_room.rate_per_s"),
        ({"rate_per_s": True}, "waiting_room.rate_per_s"),
        ({"rate_per_s": "20"}, "waiting_room.rate_per_s"),
        ({"rate_per_s": float("nan")}, "waiting_room.rate_per_s"),
        ({"rate_per_s": float("inf")}, "waiting_room.rate_per_s"),
        ({"rate_per_s": 100_001}, "waiting_room.rate_per_s"),
        ({"rate_per_s": 10, "rate_max_per_s": 9}, "waiting_room.rate_max_per_s"),
        ({"rate_per_s": 10, "rate_min_per_s": 11}, "waiting_room.rate_min_per_s"),
        ({"places_max": 0}, "waiting_room.places_max"),
        ({"places_max": 1.5}, "waiting_room.places_max"),
        ({"pass_ttl_s": 29}, "waiting_room.pass_ttl_s"),
        ({"pass_ttl_s": 3601}, "waiting_room.pass_ttl_s"),
        ({"idle_s": 0}, "waiting_room.idle_s"),
        ({"idle_s": 601}, "waiting_room.idle_s"),
        ({"pass_ttl_s": 60, "idle_s": 61}, "waiting_room.idle_s"),
        ({"claim_grace_s": 0}, "waiting_room.claim_grace_s"),
        ({"claim_grace_s": 86_401}, "waiting_room.claim_grace_s"),
    ],
)
def test_a_wrong_rule_is_named_by_its_place(rules: Any, where: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        parsed(rules)

    assert [problem.where for problem in refused.value.problems] == [where]


def test_switching_on_and_off_and_changing_a_rule_are_changes_that_nothing_stands_against() -> None:
    off, on = parse_exam(WITHOUT), parse_exam({**WITHOUT, "waiting_room": {}})
    assert on.waiting_room is not None
    faster = dataclasses.replace(
        on, waiting_room=dataclasses.replace(on.waiting_room, rate_per_s=30.5)
    )
    taken = dict.fromkeys(off.seats, 1)

    plans = [plan_changes(*pair, taken) for pair in ((off, on), (on, faster), (on, off), (on, on))]

    assert "waiting_room.places_max: none → 5000" in map(str, plans[0].changes)
    assert len(plans[0].changes) == len(plans[2].changes) == 7
    assert [str(change) for change in plans[1].changes] == ["waiting_room.rate_per_s: 20.0 → 30.5"]
    assert "waiting_room.idle_s: 300 → none" in map(str, plans[2].changes)
    assert plans[3].changes == ()
    assert [plan.problems for plan in plans] == [()] * 4
