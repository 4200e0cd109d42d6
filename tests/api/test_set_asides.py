"""Seats kept for groups, over HTTP: codes and who uses them, seats handed out, and bad input.

Over 400 lines because each call has its refusals beside it.
"""

import asyncio
import hashlib
import io
import time
from typing import Any

import pytest

from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import exam_document, rfc3339
from quota_service.registration.close_set_asides import close_set_asides
from quota_service.registration.import_exam import import_exam
from quota_service.workers.expiry import ExpiryWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.bookings import check_agreement
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import SEATS, exam_definition
from tests.support.lost_shards import drain, lose_everything, recover_shards
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.refusals import assert_refused
from tests.support.rooms import room_exam

PATH = "/v1/exams/exam-1/set-asides"
WHY = "the letters of 10 March"
UNTIL = rfc3339(round((time.time() + 3000) * 1000))
KEPT = {
    "set_asides": [
        {
            "id": "teachers",
            "title": {"zh": "教师", "en": "Teachers"},
            "until": UNTIL,
            "seats": {"jinan": {"general": 2, "qms": 1}},
        }
    ]
}
SEATS_FOR_MANY = {**SEATS, "jinan": {**SEATS["jinan"], "general": 60}}


@pytest.fixture
async def kept(running: Running) -> Running:
    """A service whose exam keeps three seats for teachers."""
    imported = await running.client.import_exam({**exam_definition(), **KEPT})
    assert imported.status == 200, imported
    return running


async def make(api: ApiClient, set_aside: str = "teachers", **members: Any) -> Reply:
    """Make codes, one unless told otherwise."""
    how = {} if {"codes", "hashes"} & members.keys() else {"count": 1}
    body = {"reason": WHY, **how, **members}
    return await api.call("POST", f"{PATH}/{set_aside}/codes", key=api.ops_key, json=body)


async def code_of(api: ApiClient, **members: Any) -> str:
    """Make a code and return it."""
    made = await make(api, **members)
    assert made.status == 201, made
    return str(made.json["codes"][0]["code"])


async def codes(api: ApiClient) -> list[dict[str, Any]]:
    listed = await api.get(f"{PATH}/teachers/codes", key=api.ops_key)
    return list(listed.json["codes"])


async def left(api: ApiClient) -> dict[str, tuple[int, int]]:
    """Return of each quota that is kept for teachers the seats and those left."""
    listed = await api.get(PATH, key=api.ops_key)
    (teachers,) = listed.json["set_asides"]
    return {q["subject"]: (q["seats"], q["left"]) for q in teachers["quotas"]}


async def test_who_has_a_code_reserves_what_is_kept_and_the_public_sees_none_of_it(
    kept: Running,
) -> None:
    api = kept.client
    assert await api.remaining("jinan", "general") == 1
    code = await code_of(api)

    held = await api.reserve("c-1", ("general", "qms"), code=code)

    assert (held.status, held.json["state"]) == (201, "held")
    assert await left(api) == {"general": (2, 1), "qms": (1, 0)}
    assert await api.remaining("jinan", "general") == 1
    assert "set_asides" not in (await api.get("/v1/exams/exam-1", key=None)).json
    await api.call("DELETE", f"/v1/reservations/{held.json['id']}")
    assert await left(api) == {"general": (2, 2), "qms": (1, 1)}
    await check_agreement(kept.service, 0)


async def test_a_code_is_used_as_often_as_it_may_and_again_after_a_release(kept: Running) -> None:
    api = kept.client
    code = await code_of(api, uses_max=1)
    held = await api.reserve("c-1", code=code)

    second = await api.reserve("c-2", code=code)
    used = await codes(api)
    await api.call("DELETE", f"/v1/reservations/{held.json['id']}")
    third = await api.reserve("c-2", code=code.upper().replace("-", " "))

    assert_refused(second, 409, "code-used")
    assert [(each["uses"], each["uses_max"]) for each in used] == [(1, 1)]
    assert third.status == 201


async def test_a_storm_with_codes_never_gives_more_than_their_uses(running: Running) -> None:
    """Sixty orders at once with two codes of three uses, and more seats than those."""
    api = running.client
    table = {**KEPT["set_asides"][0], "seats": {"jinan": {"general": 50}}}
    definition = {**exam_definition(seats=SEATS_FOR_MANY), "set_asides": [table]}
    assert (await api.import_exam(definition)).status == 200
    made = (await make(api, count=2, uses_max=3)).json["codes"]

    replies = await asyncio.gather(
        *(api.reserve(f"c-{i}", code=made[i % 2]["code"]) for i in range(60))
    )

    held = [reply for reply in replies if reply.status == 201]
    assert len(held) == 6
    assert {reply.slug for reply in replies if reply.status != 201} == {"code-used"}
    assert [each["uses"] for each in await codes(api)] == [3, 3]
    assert await left(api) == {"general": (50, 44)}
    await check_agreement(running.service, 0)


async def test_a_late_payment_takes_no_seat_of_a_code_that_another_uses(
    kept: Running, evidence: Evidence
) -> None:
    api, stores = kept.client, kept.service.stores
    code = await code_of(api)
    late = await api.reserve("c-1", code=code)
    shard, serial = stores.registry.locate(late.json["id"])
    await move_due(redis_of(kept.service), shard, serial)
    await ExpiryWorker(stores, kept.service.settings).run_once()
    assert (await api.reserve("c-2", code=code)).status == 201

    await api.pay(late.json, event="late")

    assert (await evidence.payments())["late"] == ("refund_due", "sold-out")
    assert [each["uses"] for each in await codes(api)] == [1]
    assert await left(api) == {"general": (2, 1), "qms": (1, 1)}
    await check_agreement(kept.service, 0)


async def test_no_code_another_exams_and_a_revoked_one_are_refused_alike(
    kept: Running, nothing_changes: NothingChanges
) -> None:
    api = kept.client
    elsewhere = {**exam_definition("exam-2"), **KEPT}
    assert (await api.import_exam(elsewhere)).status == 201
    path = "/v1/exams/exam-2/set-asides/teachers/codes"
    body = {"reason": WHY, "count": 1}
    others = await api.call("POST", path, key=api.ops_key, json=body)
    revoked = (await make(api)).json["codes"][0]
    path = f"{PATH}/teachers/codes/{revoked['id']}/revoke"
    ended = await api.call("POST", path, key=api.ops_key, json={"reason": WHY})
    again = await api.call("POST", path, key=api.ops_key, json={"reason": WHY})

    async with nothing_changes():
        wrong = [others.json["codes"][0]["code"], revoked["code"], "0" * 20, "short", "a|b:c/d"]
        replies = [
            await api.reserve(f"c-{i}", code=code, idempotency_key=f"wrong-{i}")
            for i, code in enumerate(wrong)
        ]

    assert (ended.json["revoked_at"], ended.json) == (again.json["revoked_at"], again.json)
    for reply in replies:
        assert_refused(reply, 403, "code-invalid")
    assert len({str({**reply.json, "instance": ""}) for reply in replies}) == 1


async def test_who_guesses_waits_and_others_do_not(
    kept: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.registration.code_guesses.time", lambda: 60_030.0)
    api = kept.client
    code = await code_of(api)

    guesses = [await api.reserve("c-1", code=f"{i:020}") for i in range(6)]
    right = await api.reserve("c-1", code=code)
    other = await api.reserve("c-2", code=code)

    assert [reply.slug for reply in guesses] == ["code-invalid"] * 5 + ["too-many-wrong-codes"]
    assert_refused(right, 429, "too-many-wrong-codes")
    assert right.json["pause_ends_at"] == "1970-01-01T16:41:00.000Z"
    assert other.status == 201


async def test_a_repeat_is_answered_as_the_first_time_whatever_became_of_its_code(
    kept: Running,
) -> None:
    api = kept.client
    made = (await make(api)).json["codes"][0]
    first = await api.reserve("c-1", code=made["code"], idempotency_key="order-1")
    path = f"{PATH}/teachers/codes/{made['id']}/revoke"
    await api.call("POST", path, key=api.ops_key, json={"reason": WHY})

    repeated = await api.reserve("c-1", code=made["code"], idempotency_key="order-1")
    without = await api.reserve("c-1", idempotency_key="order-1")

    assert (repeated.status, repeated.json) == (201, first.json)
    assert repeated.headers["Idempotency-Replayed"] == "true"
    assert_refused(without, 422, "idempotency-key-reused")


async def test_a_code_needs_no_pass_of_the_waiting_room(running: Running) -> None:
    api = running.client
    exam = room_exam(opens_in_s=-60, closes_in_s=7200)
    kept = {**KEPT["set_asides"][0], "seats": {"jinan": {"general": 1}}}
    definition = {**exam_document(exam), "set_asides": [kept]}
    await import_exam(running.service.stores.maintenance, parse_exam(definition))
    code = await code_of(api)

    without = await api.reserve("c-1")
    with_code = await api.reserve("c-1", code=code)

    assert_refused(without, 403, "waiting-room-pass-required")
    assert with_code.status == 201


async def test_seats_that_are_not_kept_are_not_reserved_with_a_code(kept: Running) -> None:
    api = kept.client
    code = await code_of(api, uses_max=9)

    elsewhere = await api.reserve("c-1", ("general",), ("tianjin",), code=code)
    another = await api.reserve("c-1", ("general", "service"), code=code)
    held = [await api.reserve(f"c-{i}", code=code) for i in range(2)]
    gone = await api.reserve("c-9", code=code)

    assert_refused(elsewhere, 409, "not-set-aside")
    assert_refused(another, 409, "not-set-aside")
    assert [reply.status for reply in held] == [201, 201]
    assert_refused(gone, 409, "sold-out")
    assert await api.remaining("jinan", "general") == 1


async def test_a_set_aside_that_is_over_takes_no_codes_and_gives_no_seats(kept: Running) -> None:
    api, stores = kept.client, kept.service.stores
    code = await code_of(api)
    async with stores.ledger.connection() as connection:
        await connection.execute("UPDATE set_asides SET until = now()")
    await close_set_asides(stores)

    assert_refused(await api.reserve("c-1", code=code), 409, "set-aside-over")
    assert_refused(await make(api), 409, "set-aside-over")
    assert_refused(await hand_out(api, "c-1"), 409, "set-aside-over")
    (teachers,) = (await api.get(PATH, key=api.ops_key)).json["set_asides"]
    assert (teachers["over"], await left(api)) == (True, {"general": (2, 0), "qms": (1, 0)})
    assert await api.remaining("jinan", "general") == 3


async def hand_out(api: ApiClient, candidate: str, **members: Any) -> Reply:
    """Hand a seat for teachers out to a candidate."""
    body = {
        "candidate": candidate,
        "subjects": ["general"],
        "venues": ["jinan"],
        "accepted_notice": True,
        "reason": WHY,
        **members,
    }
    headers = {"Idempotency-Key": f"hand-out-{candidate}"}
    path = f"{PATH}/teachers/hand-out"
    return await api.call("POST", path, key=api.ops_key, json=body, headers=headers)


async def test_ops_hand_a_seat_out_to_a_candidate_without_a_code(
    kept: Running, evidence: Evidence
) -> None:
    api = kept.client

    given = await hand_out(api, "c-1")
    again = await hand_out(api, "c-1")

    assert (given.status, again.json) == (201, given.json)
    assert await left(api) == {"general": (2, 1), "qms": (1, 1)}
    noted = await evidence.rows("SELECT action, subject, reason, outcome FROM ops_actions")
    assert [tuple(row.values()) for row in noted] == [("hand-out", "c-1", WHY, "done")] * 2


async def test_codes_that_were_made_elsewhere_are_taken_once(kept: Running) -> None:
    api = kept.client
    given = "Q4TW-81MZ-7XKE-02RV"
    hashed = hashlib.sha256(b"exam-1\0" + b"a" * 16).hexdigest()

    taken = await make(api, codes=[given], note="of the ministry")
    again = await make(api, codes=[given.lower()])
    by_hash = await make(api, hashes=[hashed])

    assert [each["code"] for each in taken.json["codes"]] == [None]
    assert (again.status, again.json["codes"]) == (201, [])
    assert [each["note"] for each in await codes(api)] == ["of the ministry", ""]
    assert (await api.reserve("c-1", code="q4tw81mz7xke02rv")).status == 201
    assert (await api.reserve("c-2", code="a" * 16)).status == 201
    assert len(by_hash.json["codes"]) == 1


async def test_what_is_no_order_for_codes_is_refused_and_changes_nothing(
    kept: Running, nothing_changes: NothingChanges
) -> None:
    api = kept.client
    paths = [f"{PATH}/teachers/codes/{code}/revoke" for code in ("0" * 12, "%00", "x|y")]

    async with nothing_changes():
        bad = [
            await make(api, codes=["too-short"]),
            await make(api, codes=["x" * 16], count=1),
            await make(api, hashes=["zz"]),
            await make(api, count=0),
            await make(api, uses_max=0),
            await make(api, count=1, colour="red"),
        ]
        unknown = await make(api, "nobody")
        by_frontend = await api.get(PATH)
        with_empty = await api.reserve("c-1", code="", idempotency_key="empty")
    no_code = [
        await api.call("POST", path, key=api.ops_key, json={"reason": WHY}) for path in paths
    ]

    for reply in bad:
        assert_refused(reply, 422, "invalid-request")
    assert_refused(unknown, 404, "unknown-set-aside")
    for reply in no_code:
        assert_refused(reply, 404, "unknown-code")
    assert_refused(by_frontend, 403, "forbidden")
    assert_refused(with_empty, 422, "invalid-request")


async def test_codes_are_listed_in_pages_in_the_order_they_were_made(kept: Running) -> None:
    api = kept.client
    made = [each["id"] for each in (await make(api, count=5)).json["codes"]]

    first = await api.get(f"{PATH}/teachers/codes?limit=3", key=api.ops_key)
    after = first.json["next"]
    second = await api.get(f"{PATH}/teachers/codes?limit=3&after={after}", key=api.ops_key)

    listed = [each["id"] for page in (first, second) for each in page.json["codes"]]
    assert (sorted(listed), second.json["next"]) == (sorted(made), None)
    assert len(listed) == len(set(listed)) == 5


async def test_a_code_is_stored_as_a_hash_and_stands_in_no_log(
    kept: Running, evidence: Evidence, log_lines: io.StringIO
) -> None:
    api = kept.client
    code, wrong = await code_of(api), "7k3vd-m0q8t-x2fcz-91hrw"
    held = await api.reserve("c-1", code=code)
    await api.reserve("c-2", code=code)
    await api.reserve("c-3", code=wrong)
    await api.pay(held.json)
    await drain(kept.service)

    tables = await evidence.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    )
    texts = [log_lines.getvalue()]
    for table in tables:
        rows = await evidence.rows(f"SELECT t::text FROM {table['tablename']} t")  # noqa: S608
        texts += [row[0] for row in rows]
    texts += await in_redis(kept)
    everything = "\n".join(texts)

    for each in (code, wrong, code.replace("-", ""), wrong.replace("-", "")):
        assert each not in everything
    plain = code.replace("-", "").translate(str.maketrans("ilo", "110"))
    assert hashlib.sha256(f"exam-1\0{plain}".encode()).hexdigest() in everything


async def in_redis(running: Running) -> list[str]:
    """Return all that Redis has, as text."""
    client = redis_of(running.service)
    found = []
    async for key in client.scan_iter(count=1000):
        match await client.type(key):
            case "string":
                found.append(str(await client.get(key)))
            case "hash":
                found.append(str(await client.hgetall(key)))
            case "stream":
                found.append(str(await client.xrange(key)))
            case "zset":
                found.append(str(await client.zrange(key, 0, -1)))
            case _:
                found.append(str(await client.smembers(key)))
    return found


async def test_a_booking_with_a_code_is_one_after_redis_was_lost(kept: Running) -> None:
    api = kept.client
    code = await code_of(api)
    held = await api.reserve("c-1", ("general", "qms"), code=code)
    await api.pay(held.json)
    await drain(kept.service)
    await lose_everything(kept.service)
    await recover_shards(kept.service)

    assert await left(api) == {"general": (2, 1), "qms": (1, 0)}
    assert [each["uses"] for each in await codes(api)] == [1]
    assert_refused(await api.reserve("c-2", code=code), 409, "code-used")
    await api.call("POST", f"/v1/reservations/{held.json['id']}/refund")
    assert await left(api) == {"general": (2, 2), "qms": (1, 1)}
    await check_agreement(kept.service, 0)


async def test_who_moves_to_another_venue_leaves_the_set_aside(kept: Running) -> None:
    api = kept.client
    code = await code_of(api)
    held = await api.reserve("c-1", code=code)
    await api.pay(held.json)

    path = f"/v1/reservations/{held.json['id']}/venue"
    moved = await api.call("PUT", path, json={"venue": "tianjin"})

    assert moved.json["venue"] == "tianjin"
    assert await left(api) == {"general": (2, 2), "qms": (1, 1)}
    assert [each["uses"] for each in await codes(api)] == [0]
    async with kept.service.stores.ledger.connection() as connection:
        assert await connection.fetchval("SELECT set_aside FROM bookings") == ""
    await check_agreement(kept.service, 1)
