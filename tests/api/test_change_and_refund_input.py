"""Changes of venue and refunds asked for wrongly: refused by name, and nothing changes."""

import json
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient, Reply
from tests.support.raw_http import exchange, request, status
from tests.support.refusals import assert_refused

SERIAL = "a" * 24
UNKNOWN = [
    f"exam-1.0.{SERIAL}",
    f"exam-1.1.{SERIAL}",
    f"exam-1.9999.{SERIAL}",
    f"exam-9.0.{SERIAL}",
    f"exam-1.0.{SERIAL}%0a",
    f"exam-1.00.{SERIAL}",
    f"EXAM-1.0.{SERIAL}",
    "exam-1",
    "x" * 4000,
    "..%2f..%2fopenapi.json",
    "%00",
    "%ff",
    "%E2%80%AE",
]
CALLS = [("PUT", "venue", {"venue": "tianjin"}), ("POST", "refund", None)]


async def send(api: ApiClient, path: str, body: Any) -> Reply:
    """Ask for a change with these bytes, or with this JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await api.call("PUT", path, data=sent, headers={"Content-Type": "application/json"})


@pytest.fixture
async def paths(api: ApiClient) -> dict[str, str]:
    """The addresses of a hold and of a booking."""
    held = (await api.reserve("candidate-1")).json
    booking = (await api.reserve("candidate-2")).json
    assert (await api.pay(booking)).json["outcome"] == "confirmed"
    return {
        name: f"/v1/reservations/{r['id']}" for name, r in (("held", held), ("booked", booking))
    }


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"{}{}", b'{"venue": "a",}', b"\x00", b"\xff"])
async def test_a_change_that_is_no_json_is_malformed(
    api: ApiClient, paths: dict[str, str], nothing_changes: NothingChanges, body: bytes
) -> None:
    async with nothing_changes():
        for path in paths.values():
            assert_refused(await send(api, f"{path}/venue", body), 400, "malformed-json")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], ["body"]),
        (None, ["body"]),
        ("tianjin", ["body"]),
        ({}, ["venue"]),
        ({"venue": None}, ["venue"]),
        ({"venue": ""}, ["venue"]),
        ({"venue": 1}, ["venue"]),
        ({"venue": True}, ["venue"]),
        ({"venue": ["tianjin"]}, ["venue"]),
        ({"venue": {"id": "tianjin"}}, ["venue"]),
        ({"venue": "x" * 65}, ["venue"]),
        ({"venues": ["tianjin"]}, ["venue", "venues"]),
        ({"venue": "tianjin", "force": True}, ["force"]),
        ({"venue": 1, "Venue": "tianjin", "": 0}, ["venue", "Venue", ""]),
    ],
)
async def test_a_change_with_wrong_members_names_them(
    api: ApiClient,
    paths: dict[str, str],
    nothing_changes: NothingChanges,
    body: Any,
    named: list[str],
) -> None:
    async with nothing_changes():
        for path in paths.values():
            reply = await send(api, f"{path}/venue", body)
            assert_refused(reply, 422, "invalid-request", *named)


@pytest.mark.parametrize(
    "venue",
    ["atlantis", "JINAN", " tianjin", "tianjin\n", "tian\x00jin", "jinan/general", "a|b", "天津"],
)
async def test_an_unknown_venue_is_refused_by_its_member(
    api: ApiClient, paths: dict[str, str], nothing_changes: NothingChanges, venue: str
) -> None:
    async with nothing_changes():
        for path in paths.values():
            reply = await send(api, f"{path}/venue", {"venue": venue})
            assert_refused(reply, 422, "unknown-venue", "venue")


async def test_a_body_that_is_too_large_is_refused(
    api: ApiClient, paths: dict[str, str], nothing_changes: NothingChanges
) -> None:
    body = json.dumps({"venue": "x" * 20_000}).encode()

    async with nothing_changes():
        for path in paths.values():
            assert_refused(await send(api, f"{path}/venue", body), 413, "payload-too-large")
            reply = await api.call("POST", f"{path}/refund", data=body)
            assert_refused(reply, 413, "payload-too-large")


async def test_a_refund_takes_no_members_and_needs_no_body(
    api: ApiClient, paths: dict[str, str], nothing_changes: NothingChanges
) -> None:
    path = f"{paths['booked']}/refund"

    async with nothing_changes():
        members = await api.call("POST", path, json={"amount": 1, "reason": "illness"})
        listed = await api.call("POST", path, data=b"[]")
        malformed = await api.call("POST", path, data=b"{")
    done = await api.call("POST", path, data=b"{}")

    assert_refused(members, 422, "invalid-request", "amount", "reason")
    assert_refused(listed, 422, "invalid-request", "body")
    assert_refused(malformed, 400, "malformed-json")
    assert (done.status, done.json["state"]) == (200, "refunded")


@pytest.mark.parametrize("name", UNKNOWN)
async def test_unknown_and_foreign_ids_are_not_found(
    api: ApiClient, nothing_changes: NothingChanges, name: str
) -> None:
    key = f"Authorization: Bearer {api.frontend_key}"

    async with nothing_changes():
        for method, last, body in CALLS:
            sent = json.dumps(body).encode() if body else b""
            path = f"/v1/reservations/{name}/{last}"
            answer = await exchange(api.url, request(method, path, key, body=sent))
            assert status(answer) == 404
            assert b'"type":"/problems/unknown-reservation"' in answer


@pytest.mark.parametrize("call", CALLS, ids=["venue", "refund"])
async def test_only_a_frontend_key_may_change_or_refund(
    api: ApiClient,
    paths: dict[str, str],
    nothing_changes: NothingChanges,
    call: tuple[str, str, Any],
) -> None:
    method, last, body = call

    async with nothing_changes():
        for path in (*paths.values(), f"/v1/reservations/exam-1.0.{SERIAL}"):
            ops = await api.call(method, f"{path}/{last}", key=api.ops_key, json=body)
            nobody = await api.call(method, f"{path}/{last}", key=None, json=body)
            wrong = await api.call(method, f"{path}/{last}", key="no-key", json=body)
            assert_refused(ops, 403, "forbidden")
            assert_refused(nobody, 401, "unauthorized")
            assert_refused(wrong, 401, "unauthorized")


async def test_other_methods_are_answered_with_the_one_there_is(
    api: ApiClient, paths: dict[str, str], nothing_changes: NothingChanges
) -> None:
    every = {"GET", "POST", "PUT", "DELETE", "PATCH"}

    async with nothing_changes():
        for known, last, _ in CALLS:
            for method in every - {known}:
                reply = await api.call(method, f"{paths['booked']}/{last}")
                assert_refused(reply, 405, "method-not-allowed")
                assert reply.headers["Allow"] == known
