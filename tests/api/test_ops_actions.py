"""What ops did is shown with who, why and how it ended, to ops alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.api.test_acting import WHY, act, order_by_ops
from tests.api.test_candidate_view import drain
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.refunds_due import NO_SUCH_RESERVATION
from tests.support.refusals import assert_refused

PATH = "/v1/ops-actions"


async def actions(api: ApiClient, query: str = "") -> Sequence[Mapping[str, Any]]:
    reply = await api.get(f"{PATH}{query}", key=api.ops_key)
    assert reply.status == 200, reply
    return reply.json["ops_actions"]


def told(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["action"], each["subject"], each["outcome"]) for each in found]


async def test_each_act_is_shown_with_its_outcome_also_one_that_was_refused(
    api: ApiClient,
) -> None:
    made = (await order_by_ops(api, "c-1", "ops-1")).json["id"]
    await order_by_ops(api, "c-1", "ops-2")
    moved = await act(api, made, "move", venue="tianjin")
    await act(api, made, "move", venue="nowhere")

    shown = await actions(api)

    assert told(shown) == [
        ("reserve", "c-1", "done"),
        ("reserve", "c-1", "session-conflict"),
        ("move", made, "done"),
        ("move", made, "unknown-venue"),
    ]
    move = shown[2]
    assert (move["exam"], move["reason"], move["detail"]) == ("exam-1", WHY, {"venue": "tianjin"})
    assert move["key_id"] == api.ops_key.split("_")[1]
    assert move["request_id"] == moved.headers["X-Request-ID"]


async def test_what_concerns_a_candidate_or_a_reservation_is_found_and_in_pages(
    running: Running,
) -> None:
    api = running.client
    first = (await api.reserve("c-1")).json
    second = (await api.reserve("c-2")).json
    await api.pay(first)
    await act(api, second["id"], "move", venue="tianjin")
    venue = "/v1/exams/exam-1/venues/jinan"
    body = {"reason": WHY}
    await api.call("POST", f"{venue}/close", key=api.ops_key, json=body)
    await api.call(
        "POST", f"{venue}/move-out", key=api.ops_key, json={**body, "venues": ["tianjin"]}
    )
    await drain(running)

    moved_out = [("move-out", "jinan", "done")]
    assert told(await actions(api, "?candidate=c-1")) == moved_out
    assert told(await actions(api, f"?reservation={first['id']}&exam=exam-1")) == moved_out
    assert told(await actions(api, "?candidate=c-2")) == [("move", second["id"], "done")]
    assert told(await actions(api, "?candidate=c-3")) == []
    page = (await api.get(f"{PATH}?limit=2", key=api.ops_key)).json
    rest = await actions(api, f"?limit=2&after={page['next']}")
    assert told([*page["ops_actions"], *rest]) == [
        ("move", second["id"], "done"),
        ("close-venue", "jinan", "done"),
        *moved_out,
    ]


async def test_frontends_do_not_see_it_and_wrong_questions_are_refused(api: ApiClient) -> None:
    frontend = await api.get(PATH)
    unknown = await api.get(f"{PATH}?exam=exam-9", key=api.ops_key)
    nobody = await api.get(f"{PATH}?candidate=11010519491231002X", key=api.ops_key)
    malformed = await api.get(f"{PATH}?reservation=a%00b", key=api.ops_key)
    other = await api.get(f"{PATH}?who=me", key=api.ops_key)

    assert_refused(frontend, 403, "forbidden")
    assert_refused(unknown, 404, "unknown-exam")
    assert_refused(nobody, 422, "national-id-refused")
    assert_refused(malformed, 422, "invalid-request")
    assert_refused(other, 422, "invalid-request")


async def test_a_reason_that_need_not_be_given_is_noted_where_it_is(queueing: Running) -> None:
    api = queueing.client
    room, why = "/v1/exams/exam-1/waiting-room", {"reason": "供应商故障"}
    missing = await api.pay(NO_SUCH_RESERVATION)
    (due,) = (await api.get("/v1/refunds-due", key=api.ops_key)).json["refunds_due"]

    rate = await api.call("PUT", room, key=api.ops_key, json={"rate": 7}, params=why)
    await api.call("POST", f"{room}/pause", key=api.ops_key, params=why)
    await api.call("POST", f"{room}/resume", key=api.ops_key)
    refund = f"/v1/refunds-due/{due['id']}/settle"
    await api.call("POST", refund, key=api.ops_key, params=why)
    await api.call("POST", "/v1/unreadable-payments/9/settle", key=api.ops_key, params=why)
    refused = await api.call("POST", refund, key=api.ops_key, params={"reason": "a\nb"})

    shown = await actions(api)
    assert (missing.status, rate.status) == (200, 200)
    assert told(shown) == [
        ("set-rate", "waiting-room", "done"),
        ("pause-admission", "waiting-room", "done"),
        ("settle-refund", NO_SUCH_RESERVATION, "done"),
        ("settle-payment", "9", "unknown-payment"),
    ]
    assert {each["reason"] for each in shown} == {"供应商故障"}
    assert shown[0]["detail"] == {"rate": 7}
    assert_refused(refused, 422, "invalid-request", "reason")
