"""What a candidate was refused is shown for a day; nothing that strangers ask for is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.api.test_refusals_logged import key_id, reserve
from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

SOLD_OUT = {"subjects": ["ems"], "venues": ["tianjin"]}


async def seen(
    api: ApiClient, count: int, candidate: str = "candidate-1"
) -> Sequence[Mapping[str, Any]]:
    """Return what a candidate was refused, newest first, once it is `count` times in all."""
    found: list[Mapping[str, Any]] = []

    async def is_there() -> bool:
        reply = await api.get(f"/v1/exams/exam-1/candidates/{candidate}", key=api.ops_key)
        found[:] = reply.json["refusals"]
        return sum(refused["count"] for refused in found) >= count

    await eventually(is_there)
    return found


async def test_a_candidate_is_shown_with_what_it_was_refused_by_which_request(
    api: ApiClient,
) -> None:
    await reserve(api, "request-1", **SOLD_OUT)
    await reserve(api, "request-2", **SOLD_OUT)
    await reserve(api, "request-3", candidate="candidate-2", **SOLD_OUT)

    refused = await seen(api, 2)

    assert {each["slug"] for each in refused} == {"sold-out"}
    assert sum(each["count"] for each in refused) == 2  # in a minute, or in two
    newest = refused[0]
    assert (newest["request_id"], newest["reservation"]) == ("request-2", None)
    assert newest["key_id"] == key_id(api.frontend_key)
    assert newest["last_at"].endswith("Z")


async def test_what_is_refused_for_a_reservation_is_shown_with_its_candidate(
    api: ApiClient,
) -> None:
    held = (await api.reserve("candidate-1")).json
    await api.pay(held)

    path = f"/v1/reservations/{held['id']}"
    reply = await api.call("DELETE", path, headers={"X-Request-ID": "request-1"})

    assert_refused(reply, 409, "already-confirmed")
    (refused,) = await seen(api, 1)
    shown = (refused["slug"], refused["reservation"], refused["request_id"])
    assert shown == ("already-confirmed", held["id"], "request-1")


async def test_what_ops_were_refused_for_a_candidate_is_shown_with_their_key(
    api: ApiClient,
) -> None:
    order = {"candidate": "candidate-1", "accepted_notice": True, "reason": "why", **SOLD_OUT}
    headers = {"Idempotency-Key": "ops-1"}
    path = "/v1/exams/exam-1/ops-reservations"
    reply = await api.call("POST", path, key=api.ops_key, json=order, headers=headers)

    assert_refused(reply, 409, "sold-out")
    (refused,) = await seen(api, 1)
    assert (refused["slug"], refused["key_id"]) == ("sold-out", key_id(api.ops_key))


async def test_nothing_is_kept_of_strangers_of_other_exams_and_of_what_is_no_candidates(
    api: ApiClient, evidence: Evidence
) -> None:
    strange = "/v1/exams/exam-1/candidates/candidate-1"
    assert_refused(await api.call("GET", strange, key="quota_0_0"), 401, "unauthorized")
    await api.get("/v1/exams/exam-9/candidates/candidate-1")
    await api.get("/v1/exams/exam-1/candidates/11010519491231002X")
    await api.get("/v1/reservations/exam-1.0.a%00b")
    await api.get(f"/v1/reservations/exam-1.0.{'a' * 24}")
    await reserve(api, "request-1", **SOLD_OUT)

    # They are written in order, so the others would be there by now.
    await seen(api, 1)

    rows = await evidence.rows("SELECT exam, candidate, reservation, slug FROM refusals")
    assert [tuple(row.values()) for row in rows] == [("exam-1", "candidate-1", "", "sold-out")]
