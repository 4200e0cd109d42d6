"""The waiting room over HTTP: who joins, what everybody sees, and who is told no."""

import asyncio
import datetime as dt
import hashlib
import hmac
from typing import Any

import pytest
import redis.asyncio

from quota_service.registration.import_exam import import_exam
from quota_service.registration.room_cache import RoomRefresh
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.refusals import assert_refused
from tests.support.room_calls import CLAIMS, ROOM, SHARD, claim, finish, join, look
from tests.support.rooms import admit, admit_draw, let_open, room_exam

JOIN = "POST /v1/exams/{exam}/waiting-room"
LOOK = "GET /v1/exams/{exam}/waiting-room"
CLAIM = "POST /v1/exams/{exam}/waiting-room/claims"
FINISH = "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}"


async def test_before_the_opening_who_joins_gets_one_ticket_however_often(
    drawing: Running,
) -> None:
    replies = await asyncio.gather(*(join(drawing.client) for _ in range(20)))
    other = await join(drawing.client, "candidate-2")

    first = replies[0].json
    assert {reply.status for reply in replies} == {201}
    assert {reply.json["ticket"] for reply in replies} == {first["ticket"]}
    assert other.json["ticket"] != first["ticket"]
    assert (first["kind"], first["number"], first["rank"], first["eta_s"]) == (
        "draw", None, None, None
    )  # fmt: skip
    assert (first["exam"], first["candidate"]) == ("exam-1", "candidate-1")
    assert first["poll_after"] > 1


async def test_nothing_is_stored_for_each_person_in_the_draw(
    drawing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    before = {key async for key in redis_client.scan_iter(count=1000)}
    await asyncio.gather(*(join(drawing.client, f"candidate-{i}") for i in range(200)))
    after = {key async for key in redis_client.scan_iter(count=1000)}

    new = after - before
    assert SHARD.key("drawn") in new
    assert len(new) <= 3  # and what the process tells of its load every second
    assert await redis_client.pfcount(SHARD.key("drawn")) == pytest.approx(200, rel=0.05)
    assert await redis_client.strlen(SHARD.key("drawn")) < 13_000


async def test_the_document_tells_everybody_the_same_and_reveals_the_seed_at_the_opening(
    drawing: Running,
) -> None:
    await join(drawing.client)
    await drawing.service.stores.waiting_room.rooms.refresh()
    before = (await look(drawing.client)).json
    await let_open(drawing.service)
    after = (await look(drawing.client)).json

    assert set(before) == set(after) == {
        "exam", "phase", "paused", "threshold", "late_threshold", "serving", "late_through",
        "rate", "waiting", "waiting_in_draw", "poll_after", "poll_after_max", "seed_commitment",
        "seed", "opens_at", "claim_grace_s", "server_time", "draw_rule", "source", "entries",
        "without_source",
    }  # fmt: skip
    assert (before["phase"], before["seed"], before["waiting"]) == ("before", None, 1)
    assert before["waiting_in_draw"] == 1
    assert (before["threshold"], before["serving"], before["rate"]) == ("0" * 64, 0, 20)
    assert (after["phase"], after["seed_commitment"]) == ("draw", before["seed_commitment"])
    assert hashlib.sha256(bytes.fromhex(after["seed"])).hexdigest() == before["seed_commitment"]
    assert after["claim_grace_s"] == 300
    assert "operator has known it" in after["draw_rule"]
    assert (after["source"], after["entries"], after["without_source"]) == (None, None, None)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(after["server_time"])
    assert abs(age) < dt.timedelta(minutes=1)


async def test_candidates_are_let_in_by_the_rank_that_anybody_can_compute(
    drawing: Running,
) -> None:
    tickets = {
        f"candidate-{i}": (await join(drawing.client, f"candidate-{i}")).json["ticket"]
        for i in range(40)
    }
    await let_open(drawing.service)
    seed = bytes.fromhex((await look(drawing.client)).json["seed"])
    ranks = {
        candidate: hmac.new(seed, f"exam-1{candidate}".encode(), "sha256").hexdigest()
        for candidate in tickets
    }
    threshold = sorted(ranks.values())[9]
    await admit(drawing.service, threshold=threshold)

    replies = {c: await claim(drawing.client, ticket, c) for c, ticket in tickets.items()}

    admitted = {candidate for candidate, reply in replies.items() if reply.status == 201}
    refused = [reply for reply in replies.values() if reply.status != 201]
    assert admitted == {candidate for candidate, rank in ranks.items() if rank <= threshold}
    assert len(admitted) == 10
    for reply in refused:
        assert_refused(reply, 409, "not-your-turn")
        assert (reply.json["threshold"], reply.json["serving"]) == (threshold, 0)
        assert reply.json["poll_after"] >= 1


async def test_after_the_opening_numbers_go_first_come_first_served(queueing: Running) -> None:
    await admit_draw(queueing.service)
    numbers = [(await join(queueing.client, f"candidate-{i}")).json["number"] for i in range(5)]
    again = (await join(queueing.client, "candidate-3")).json

    assert numbers == [1, 2, 3, 4, 5]
    assert (again["kind"], again["number"], again["rank"]) == ("number", 4, None)
    assert again["eta_s"] == pytest.approx(3 / 20, abs=0.1)


async def test_many_tabs_of_one_candidate_have_one_number_and_one_pass(queueing: Running) -> None:
    joined = await asyncio.gather(*(join(queueing.client) for _ in range(40)))
    await admit(queueing.service, serving=1)
    claimed = await asyncio.gather(
        *(claim(queueing.client, reply.json["ticket"]) for reply in joined)
    )

    assert {reply.json["number"] for reply in joined} == {1}
    assert sorted(reply.status for reply in claimed) == [200] * 39 + [201]
    assert len({reply.body for reply in claimed}) == 1


async def test_a_room_that_is_off_says_so_at_every_call(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        refused = [await join(api), await look(api), await claim(api, "x.y"), await finish(api)]

    for reply in refused:
        assert_refused(reply, 409, "waiting-room-off")
    unknown = await api.get("/v1/exams/nowhere/waiting-room", key=None)
    assert_refused(unknown, 404, "unknown-exam")


async def test_after_registration_nobody_joins_or_claims(drawing: Running) -> None:
    ticket = (await join(drawing.client)).json["ticket"]
    await import_exam(
        drawing.service.stores.maintenance, room_exam(opens_in_s=-20, closes_in_s=-10)
    )

    phase = (await look(drawing.client)).json["phase"]
    refused = [await join(drawing.client), await claim(drawing.client, ticket)]

    assert phase == "closed"
    for reply in refused:
        assert_refused(reply, 409, "registration-closed")
        assert "closed_at" in reply.json
    assert (await finish(drawing.client)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        (ROOM, {}, ["candidate"]),
        (ROOM, {"candidate": ""}, ["candidate"]),
        (ROOM, {"candidate": "a|b"}, ["candidate"]),
        (ROOM, {"candidate": "candidate-1", "ticket": "x"}, ["ticket"]),
        (CLAIMS, {"candidate": "candidate-1"}, ["ticket"]),
        (CLAIMS, {"ticket": "x"}, ["candidate"]),
        (CLAIMS, {"candidate": 1, "ticket": 2}, ["candidate", "ticket"]),
        (CLAIMS, {"candidate": "candidate-1", "ticket": "x" * 257}, ["ticket"]),
    ],
)
async def test_a_body_that_is_wrong_is_refused_by_the_names_of_its_members(
    drawing: Running, nothing_changes: NothingChanges, path: str, body: Any, fields: list[str]
) -> None:
    async with nothing_changes():
        refused = await drawing.client.call("POST", path, json=body)

    assert_refused(refused, 422, "invalid-request", *fields)


async def test_a_national_id_number_is_no_candidate(drawing: Running) -> None:
    number = "11010519491231002X"

    refused = [
        await join(drawing.client, number),
        await claim(drawing.client, "x.y", number),
        await finish(drawing.client, number),
    ]

    for reply in refused:
        assert_refused(reply, 422, "national-id-refused", "candidate")
        assert number not in reply.body.decode()


async def test_only_a_frontend_joins_claims_and_finishes(drawing: Running) -> None:
    client = drawing.client
    calls: list[tuple[str, str, Any]] = [
        ("POST", ROOM, {"candidate": "candidate-1"}),
        ("POST", CLAIMS, {"candidate": "candidate-1", "ticket": "x.y"}),
        ("DELETE", f"{CLAIMS}/candidate-1", None),
    ]

    for method, path, body in calls:
        assert_refused(await client.call(method, path, key=None, json=body), 401, "unauthorized")
        forbidden = await client.call(method, path, key=client.ops_key, json=body)
        assert_refused(forbidden, 403, "forbidden")


@pytest.mark.settings(RoomRefresh(3600))
async def test_a_poll_costs_redis_and_postgres_nothing(
    drawing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async def calls() -> int:
        """Count the calls of scripts and plain reads, of which background rounds make few."""
        found = await redis_client.info("commandstats")
        names = ("evalsha", "hmget", "pfcount", "zcount", "hget")
        return sum(int(found.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in names)

    before = await calls()
    replies = await asyncio.gather(*(look(drawing.client) for _ in range(300)))

    assert await calls() - before < len(replies) / 2
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


@pytest.mark.settings(RoomRefresh(3600))
async def test_a_document_that_is_known_is_not_sent_again_before_it_is_another(
    drawing: Running,
) -> None:
    first = await look(drawing.client)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await drawing.client.get(ROOM, key=None, headers=known)
    await drawing.service.stores.waiting_room.rooms.refresh()
    other = await drawing.client.get(ROOM, key=None, headers=known)

    assert first.headers["Cache-Control"] == "public, max-age=1"
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert again.headers["Cache-Control"] == "public, max-age=1"
    assert other.status == 200
    assert other.headers["ETag"] != first.headers["ETag"]


async def test_the_seed_and_the_keys_are_in_no_answer_and_no_log_before_the_opening(
    drawing: Running, log_lines: Any
) -> None:
    room = drawing.service.stores.waiting_room.rooms.current("exam-1").status.room
    replies = [await join(drawing.client), await look(drawing.client)]
    replies.append(await claim(drawing.client, replies[0].json["ticket"]))
    replies.append(await drawing.client.get("/v1/exams/exam-1", key=None))
    await drawing.service.stores.waiting_room.rooms.refresh()

    told = " ".join(reply.body.decode() for reply in replies) + log_lines.getvalue()
    for secret in (room.seed, room.ticket_key, room.pass_key):
        assert secret.hex() not in told
        assert repr(secret)[2:-1] not in told


async def test_the_rules_of_a_room_are_told_with_its_exam(drawing: Running) -> None:
    exam = (await drawing.client.get("/v1/exams/exam-1", key=None)).json

    assert exam["waiting_room"]["pass_ttl_s"] == 600
    assert exam["waiting_room"]["rate_max_per_s"] == 1000


async def test_the_waiting_room_is_answered_as_documented(drawing: Running) -> None:
    contract, client = Contract(), drawing.client
    drawn = await join(client)
    before = await look(client)
    early = await claim(client, drawn.json["ticket"])
    await let_open(drawing.service)
    number = await join(client, "candidate-2")
    await admit_draw(drawing.service)
    known = {"If-None-Match": (await look(client)).headers["ETag"]}
    claims = [await claim(client, drawn.json["ticket"]) for _ in range(2)]

    replies = [
        (JOIN, drawn), (LOOK, before), (CLAIM, early), (JOIN, number), (LOOK, await look(client)),
        (CLAIM, claims[0]), (CLAIM, claims[1]), (FINISH, await finish(client)),
        (CLAIM, await claim(client, "x.y")),
        (LOOK, await client.get(ROOM, key=None, headers=known)),
        ("GET /v1/exams/{exam}", await client.get("/v1/exams/exam-1", key=None)),
    ]  # fmt: skip
    for call, reply in replies:
        contract.check(call, reply)
    assert [reply.status for _, reply in replies[:4]] == [201, 200, 409, 201]
