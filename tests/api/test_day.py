"""Ops pause an exam over HTTP and resume it: candidates are told, with the reason."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from quota_service.registration.extend_holds import extend_holds
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.event_streams import opened
from tests.support.evidence import Evidence
from tests.support.refusals import assert_refused
from tests.support.room_calls import claim, join
from tests.support.rooms import admit
from tests.support.use_cases import DiedError, dying

EXAM = "/v1/exams/exam-1"
WHY = "the payment provider is down; back at about 12:40"


def at_ms(time: str) -> int:
    return round(dt.datetime.fromisoformat(time).timestamp() * 1000)


async def ops(api: ApiClient, call: str, **body: Any) -> Reply:
    return await api.call("POST", f"{EXAM}/{call}", key=api.ops_key, json=body)


async def test_an_order_is_refused_with_the_reason_the_scope_and_when_to_ask_again(
    api: ApiClient, evidence: Evidence
) -> None:
    paused = await ops(api, "pause", reason=WHY, venue="jinan", retry_after_s=600)

    refused = await api.reserve("c-1")
    elsewhere = await api.reserve("c-1", venues=("jinan", "tianjin"))
    resumed = await ops(api, "resume", venue="jinan", reason="it is back")
    after = await api.reserve("c-2")

    (pause,) = paused.json["pauses"]
    assert (paused.status, pause["stops"], pause["retry_after_s"]) == (200, "reserving", 600)
    assert (pause["scope"], pause["reason"]) == ({"venue": "jinan", "subject": None}, WHY)
    assert_refused(refused, 503, "paused")
    assert refused.headers["Retry-After"] == "600"
    assert {name: refused.json[name] for name in pause} == pause
    assert WHY in refused.json["detail"]
    assert elsewhere.json["venue"] == "tianjin"
    assert (resumed.json["resumed"], resumed.json["pauses"]) == (pause, [])
    assert resumed.json["resumed_at"] >= pause["since"]
    assert after.status == 201
    rows = await evidence.rows("SELECT action, reason, request_id FROM ops_actions ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("pause", WHY, paused.headers["X-Request-ID"]),
        ("resume", "it is back", resumed.headers["X-Request-ID"]),
    ]


async def test_a_pause_is_told_in_the_exam_and_in_its_availability_whose_seats_stay(
    api: ApiClient,
) -> None:
    exam, seats = await api.get(EXAM), await api.get(f"{EXAM}/availability")
    assert "pauses" not in exam.json
    assert "pauses" not in seats.json

    pauses = (await ops(api, "pause", reason=WHY, subject="general")).json["pauses"]

    told = await api.get(EXAM, headers={"If-None-Match": exam.headers["ETag"]})
    listed = await api.get("/v1/exams")
    left = await api.get(f"{EXAM}/availability", headers={"If-None-Match": seats.headers["ETag"]})
    assert (told.status, told.json["pauses"]) == (200, pauses)
    assert listed.json["exams"][0]["pauses"] == pauses
    assert (left.status, left.json["pauses"]) == (200, pauses)
    assert left.json["quotas"] == seats.json["quotas"]


@pytest.mark.settings(stream_interval_ms=10)
async def test_a_stream_tells_a_pause_and_its_end(api: ApiClient) -> None:
    async with opened(api) as stream:
        assert "pauses" not in (await stream.next()).data
        pauses = (await ops(api, "pause", reason=WHY)).json["pauses"]
        told = await stream.next()
        await ops(api, "resume")
        after = await stream.next()

    assert (told.name, told.data["pauses"]) == ("snapshot", pauses)
    assert (after.name, "pauses" in after.data) == ("snapshot", False)


async def test_a_change_of_venue_is_refused_where_changes_are_paused(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json
    path = f"/v1/reservations/{held['id']}/venue"
    await ops(api, "pause", reason=WHY, venue="tianjin", stops="changes")

    refused = await api.call("PUT", path, json={"venue": "tianjin"})
    elsewhere = await api.call("PUT", path, json={"venue": "beijing"})

    assert_refused(refused, 503, "paused")
    assert (refused.headers["Retry-After"], refused.json["stops"]) == ("60", "changes")
    assert elsewhere.json["venue"] == "beijing"


async def test_a_waiting_room_says_that_the_exam_is_paused_and_gives_no_place(
    queueing: Running,
) -> None:
    api = queueing.client
    ticket = (await join(api)).json["ticket"]
    await admit(queueing.service, serving=1)
    await ops(api, "pause", reason=WHY)
    await queueing.service.stores.waiting_room.rooms.refresh()

    refused = await claim(api, ticket)
    shown = await api.get(f"{EXAM}/waiting-room")
    joined = await join(api, "candidate-2")
    await ops(api, "resume")
    await queueing.service.stores.waiting_room.rooms.refresh()

    assert_refused(refused, 503, "paused")
    assert shown.json["paused"] is True
    assert joined.status == 201
    assert (await claim(api, ticket)).status == 201
    assert (await api.get(f"{EXAM}/waiting-room")).json["paused"] is False


async def test_a_pause_that_is_wrong_or_there_already_changes_nothing(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await ops(api, "pause", reason=WHY, venue="jinan")

    async with nothing_changes():
        again = await ops(api, "pause", reason="another", venue="jinan")
        other = await ops(api, "resume")
        bare = await ops(api, "pause")
        stops = await ops(api, "pause", reason=WHY, stops="everything")
        later = await ops(api, "pause", reason=WHY, retry_after_s=0)
        venue = await ops(api, "pause", reason=WHY, venue="nowhere")
        subject = await ops(api, "resume", subject="alchemy")
        member = await ops(api, "resume", scope="all")
        frontend = await api.call("POST", f"{EXAM}/pause", json={"reason": WHY})
        unknown = await api.call(
            "POST", "/v1/exams/exam-9/pause", key=api.ops_key, json={"reason": WHY}
        )

    assert_refused(again, 409, "already-paused")
    assert (again.json["scope"]["venue"], again.json["reason"]) == ("jinan", WHY)
    assert_refused(other, 409, "not-paused")
    assert_refused(bare, 422, "invalid-request", "reason")
    assert_refused(stops, 422, "invalid-request", "stops")
    assert_refused(later, 422, "invalid-request", "retry_after_s")
    assert_refused(venue, 422, "unknown-venue", "venue")
    assert_refused(subject, 422, "unknown-subject", "subject")
    assert_refused(member, 422, "invalid-request", "scope")
    assert_refused(frontend, 403, "forbidden")
    assert_refused(unknown, 404, "unknown-exam")


async def test_holds_are_extended_by_seconds_and_by_the_length_of_a_pause(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json
    other = (await api.reserve("c-2", venues=("tianjin",))).json
    shown = f"/v1/reservations/{held['id']}"

    extended = await ops(api, "extend-holds", seconds=600, reason=WHY, venue="jinan")
    after = (await api.get(shown)).json
    await ops(api, "pause", reason=WHY)
    resumed = await ops(api, "resume", extend_holds=True)

    made = extended.json["extension"]
    assert (extended.status, made["ms"], made["extended"], made["done"]) == (200, 600_000, 1, True)
    assert at_ms(after["deadline"]) - at_ms(held["deadline"]) == 600_000
    longer = resumed.json["extension"]
    paused_ms = at_ms(resumed.json["resumed_at"]) - at_ms(resumed.json["resumed"]["since"])
    assert (longer["ms"], longer["extended"], longer["done"]) == (paused_ms, 2, True)
    for before, id_ in ((after, held["id"]), (other, other["id"])):
        now = (await api.get(f"/v1/reservations/{id_}")).json
        assert at_ms(now["deadline"]) - at_ms(before["deadline"]) == paused_ms


async def test_an_extension_that_is_wrong_or_of_what_has_ended_changes_nothing(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held, paid = (await api.reserve("c-1")).json, (await api.reserve("c-2")).json
    await api.call("DELETE", f"/v1/reservations/{held['id']}")
    await api.pay(paid)
    why = {"reason": WHY}

    async with nothing_changes():
        ended = await ops(api, "extend-holds", seconds=60, reservation=held["id"], **why)
        booked = await ops(api, "extend-holds", seconds=60, reservation=paid["id"], **why)
        unknown = await ops(
            api, "extend-holds", seconds=60, reservation=f"exam-1.0.{'a' * 24}", **why
        )
        shorter = await ops(api, "extend-holds", seconds=-60, **why)
        longer = await ops(api, "extend-holds", seconds=604_801, **why)
        bare = await ops(api, "extend-holds", seconds=60)
        venue = await ops(api, "extend-holds", seconds=60, venue="nowhere", **why)
        frontend = await api.call(
            "POST", f"{EXAM}/extend-holds", json={"seconds": 60, "reason": WHY}
        )

    assert_refused(ended, 409, "reservation-ended")
    assert_refused(booked, 409, "already-confirmed")
    assert_refused(unknown, 404, "unknown-reservation")
    assert_refused(shorter, 422, "invalid-request", "seconds")
    assert_refused(longer, 422, "invalid-request", "seconds")
    assert_refused(bare, 422, "invalid-request", "reason")
    assert_refused(venue, 422, "unknown-venue", "venue")
    assert_refused(frontend, 403, "forbidden")


async def test_operations_tell_the_newest_first_what_is_in_force_and_how_far_an_extension_is(
    running: Running,
) -> None:
    api = running.client
    held = (await api.reserve("c-1")).json
    await ops(api, "venues/tianjin/close", reason="burst pipe")
    await ops(api, "pause", reason=WHY, venue="jinan")
    await ops(api, "pause", reason=WHY, subject="qms")
    await api.call(
        "POST", f"/v1/reservations/{held['id']}/release", key=api.ops_key, json={"reason": "asked"}
    )
    await ops(api, "resume", venue="jinan", extend_holds=True, reason="it is back")
    stores = running.service.stores.maintenance
    with pytest.raises(DiedError):
        await extend_holds(
            dying(stores, "extend: decided"), "exam-1", "jinan", "", "", 60, "they waited"
        )

    shown = (await api.get(f"{EXAM}/operations?limit=4", key=api.ops_key)).json
    rest = (await api.get(f"{EXAM}/operations?after={shown['next']}", key=api.ops_key)).json
    frontend = await api.get(f"{EXAM}/operations")
    unknown = await api.get("/v1/exams/exam-9/operations", key=api.ops_key)
    wrong = await api.get(f"{EXAM}/operations?after=x", key=api.ops_key)

    told = [*shown["operations"], *rest["operations"]]
    assert [(each["action"], each["subject"], each["outcome"]) for each in told] == [
        ("extend-holds", "jinan/*", "done"),
        ("resume", "jinan/*", "done"),
        ("release", held["id"], "done"),
        ("pause", "*/qms", "done"),
        ("pause", "jinan/*", "done"),
        ("close-venue", "tianjin", "done"),
    ]
    assert [each["reason"] for each in told[:3]] == ["they waited", "it is back", "asked"]
    extensions = [each["extension"] for each in told]
    assert (extensions[0]["done"], extensions[0]["ms"], extensions[2:]) == (
        False,
        60_000,
        [None] * 4,
    )
    assert (extensions[1]["done"], extensions[1]["extended"]) == (True, 0)
    assert (told[1]["key_id"], rest["next"]) == (api.ops_key.split("_")[1], None)
    (pause,), (under_way,) = shown["in_force"]["pauses"], shown["in_force"]["extensions"]
    assert (pause["scope"], pause["reason"]) == ({"venue": None, "subject": "qms"}, WHY)
    assert (under_way["scope"]["venue"], under_way["ms"]) == ("jinan", 60_000)
    assert_refused(frontend, 403, "forbidden")
    assert_refused(unknown, 404, "unknown-exam")
    assert_refused(wrong, 422, "invalid-request", "after")


async def test_a_repeat_under_the_same_key_is_the_same_extension(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json
    body = {"seconds": 600, "reason": WHY, "reservation": held["id"]}
    key = {"Idempotency-Key": "extend-1"}

    async def extend(**other: Any) -> Reply:
        return await api.call(
            "POST", f"{EXAM}/extend-holds", key=api.ops_key, headers=key, json={**body, **other}
        )

    replies = await asyncio.gather(*(extend() for _ in range(3)))
    await api.call("DELETE", f"/v1/reservations/{held['id']}")
    late, reused = await extend(), await extend(seconds=60)

    assert {reply.status for reply in (*replies, late)} == {200}
    assert {reply.json["extension"]["id"] for reply in (*replies, late)} == {"1"}
    assert late.json["extension"]["extended"] == 1
    replayed = ["Idempotency-Replayed" in reply.headers for reply in (*replies, late)]
    assert sorted(replayed) == [False, True, True, True]
    assert_refused(reused, 422, "idempotency-key-reused")
