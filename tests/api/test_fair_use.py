"""The rules of fair use, as a frontend meets them."""

import datetime as dt
from typing import Any

import pytest

from tests.support.client import ApiClient, Reply
from tests.support.exams import exam_definition

RULES = {
    "unpaid_holds_max": 2,
    "unpaid_pause_s": 60,
    "unpaid_pause_max_s": 600,
    "venue_changes_max": 2,
    "key_share_max_percent": 50,
}


async def hold_and_release(api: ApiClient, exam: str) -> Reply:
    held = await api.reserve(exam=exam)
    assert held.status == 201, held
    return await api.call("DELETE", f"/v1/reservations/{held.json['id']}")


async def test_after_too_many_unpaid_holds_a_candidate_is_told_when_the_next_can_be_made(
    api: ApiClient,
) -> None:
    await api.import_exam(exam_definition("fair", fair_use=RULES))
    await hold_and_release(api, "fair")
    before = dt.datetime.now(dt.UTC)
    await hold_and_release(api, "fair")

    refused = await api.reserve(exam="fair", idempotency_key="key-a")

    assert (refused.status, refused.slug) == (409, "too-many-unpaid-holds")
    assert refused.json["unpaid_holds"] == 2
    pause = dt.datetime.fromisoformat(refused.json["pause_ends_at"]) - before
    assert dt.timedelta(seconds=59) < pause < dt.timedelta(seconds=75)
    assert (await api.reserve("candidate-2", exam="fair")).status == 201
    assert (await api.reserve(exam="exam-1")).status == 201


async def test_an_exam_tells_its_rules_and_a_change_of_them_holds_at_once(api: ApiClient) -> None:
    await api.import_exam(exam_definition("fair", fair_use=RULES))
    await hold_and_release(api, "fair")
    await hold_and_release(api, "fair")
    assert (await api.get("/v1/exams/fair", key=None)).json["fair_use"] == RULES

    more = {**RULES, "unpaid_holds_max": 3}
    changed = await api.import_exam(exam_definition("fair", fair_use=more))

    assert {
        "where": "fair_use.unpaid_holds_max",
        "before": "2",
        "after": "3",
    } in changed.json["changes"]
    assert (await api.reserve(exam="fair")).status == 201


async def test_a_key_whose_unpaid_holds_have_its_share_is_told_so(api: ApiClient) -> None:
    await api.import_exam(exam_definition("fair", fair_use=RULES))
    for candidate in ("candidate-1", "candidate-2"):
        held = await api.reserve(candidate, exam="fair", venues=("tianjin",))
        assert held.status == 201

    refused = await api.reserve("candidate-3", exam="fair", venues=("tianjin",))
    await api.pay(held.json)
    later = await api.reserve("candidate-3", exam="fair", venues=("tianjin",))

    assert (refused.status, refused.slug) == (409, "key-share-used")
    assert refused.json["key_share_max_percent"] == 50
    assert later.status == 201


async def move(api: ApiClient, reservation: Any, venue: str) -> Reply:
    path = f"/v1/reservations/{reservation['id']}/venue"
    return await api.call("PUT", path, json={"venue": venue})


async def test_a_venue_is_changed_so_often_and_no_more_as_a_hold_and_as_a_booking(
    api: ApiClient,
) -> None:
    await api.import_exam(exam_definition("fair", fair_use=RULES))
    held = (await api.reserve(exam="fair", venues=("jinan",))).json
    first = await move(api, held, "tianjin")
    await api.pay(held)
    second = await move(api, held, "beijing")

    third = await move(api, held, "jinan")
    again = await move(api, held, "beijing")

    assert [first.status, second.status, again.status] == [200, 200, 200]
    assert (third.status, third.slug) == (409, "venue-changes-used")
    assert third.json["venue_changes_max"] == 2
    assert again.json["venue"] == "beijing"
    assert await api.remaining("jinan", "general", exam="fair") == 3


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"unpaid_holds_max": 0}, "fair_use.unpaid_holds_max"),
        ({"unpaid_pause_s": 60, "unpaid_pause_max_s": 59}, "fair_use.unpaid_pause_max_s"),
        ({"key_share_max_percent": 0}, "fair_use.key_share_max_percent"),
        ({"venue_changes_max": -1}, "fair_use.venue_changes_max"),
        ({"holds": 1}, "fair_use.holds"),
    ],
)
async def test_rules_that_are_none_are_refused_by_name(
    api: ApiClient, rules: dict[str, int], field: str
) -> None:
    refused = await api.import_exam(exam_definition("fair", fair_use=rules))

    assert (refused.status, refused.slug) == (422, "definition-refused")
    assert [error["field"] for error in refused.json["errors"]] == [field]
