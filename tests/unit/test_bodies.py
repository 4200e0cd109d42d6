"""Bodies by their models: every fault at once in order, and what an event is told again by."""

import itertools
from typing import Any

import orjson
import pytest

from quota_service.api.payments import parse_payment
from quota_service.api.reservations import parse_order
from quota_service.http.errors import InvalidRequest
from tests.support.refusals import ORDER, PAYMENT


def fields_of(order: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        parse_order(orjson.dumps(order))
    return [field for field, _ in refused.value.wrong]


def test_faults_are_named_in_the_order_of_the_members_however_the_body_has_them() -> None:
    wrong = {"zone": 1, "accepted_notice": 5, "venues": ["jinan", "jinan"], "subjects": [5]}

    orders = [dict(members) for members in itertools.permutations(wrong.items())]

    expected = ["candidate", "subjects[0]", "venues[1]", "accepted_notice", "zone"]
    assert all(fields_of(order) == expected for order in orders)


def test_of_a_list_with_too_many_ids_nothing_is_said_but_that() -> None:
    assert fields_of({**ORDER, "subjects": [5] * 33}) == ["subjects"]


def test_every_unknown_member_of_a_crowd_is_named_after_what_is_wrong_with_the_others() -> None:
    crowd = [f"unknown-{i}" for i in range(1000)]

    assert fields_of(dict.fromkeys(crowd) | {**ORDER, "venues": []}) == ["venues", *crowd]


def test_only_a_captured_payment_has_to_say_when_it_was_paid() -> None:
    undated = {name: value for name, value in PAYMENT.items() if name != "paid_at"}

    failed = parse_payment("event-1", 7, orjson.dumps({**undated, "status": "failed"}))
    with pytest.raises(InvalidRequest) as refused:
        parse_payment("event-1", 7, orjson.dumps(undated))

    assert failed.paid_at_ms == 7
    assert refused.value.wrong == (("paid_at", "is missing"),)


def test_an_event_that_was_recorded_by_an_earlier_release_has_the_same_hash() -> None:
    """Or an event sent again after an upgrade would be refused as another one."""
    undated = {name: value for name, value in PAYMENT.items() if name != "paid_at"}

    captured = parse_payment("event-1", 7, orjson.dumps(PAYMENT))
    failed = parse_payment("event-1", 7, orjson.dumps({**undated, "status": "failed"}))

    assert captured.body_hash == "89499463d35dfd7de543729628c32251"
    assert failed.body_hash == "46f6cae45937165c853e2c283fb5d647"
