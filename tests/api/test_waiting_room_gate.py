"""Reserving through the waiting room: only with a pass, as long as its place is kept."""

import asyncio
import dataclasses
from typing import Any

import pytest
import redis.asyncio

from quota_service.registration.import_exam import import_exam
from quota_service.waiting_room.passes import PERIOD_MS, Pass, write_pass
from quota_service.waiting_room.room import Room
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.records import redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.refusals import ORDER, RESERVATIONS, assert_refused
from tests.support.room_calls import SHARD, claim, finish, join, look
from tests.support.rooms import (
    admit,
    admit_draw,
    let_open,
    make_room,
    open_room,
    room_definition,
)

HEADER = "Waiting-Room-Pass"
RESERVE = "POST /v1/exams/{exam}/reservations"


async def reserve(
    api: ApiClient,
    granted: str | None,
    candidate: str = "candidate-1",
    key: str = "key-1",
    **members: Any,
) -> Reply:
    headers = {"Idempotency-Key": key, **({} if granted is None else {HEADER: granted})}
    body = {**ORDER, "candidate": candidate, **members}
    return await api.call("POST", RESERVATIONS, json=body, headers=headers)


async def get_pass(queueing: Running, candidate: str = "candidate-1") -> str:
    """Join, have the turn and claim; return the pass."""
    joined = await join(queueing.client, candidate)
    await admit(queueing.service, serving=joined.json["number"])
    claimed = await claim(queueing.client, joined.json["ticket"], candidate)
    assert claimed.status == 201, claimed
    return str(claimed.json["pass"])


def room_of(queueing: Running) -> Room:
    return queueing.service.stores.waiting_room.rooms.current("exam-1").status.room


async def test_with_a_pass_seats_are_reserved_as_without_a_waiting_room(queueing: Running) -> None:
    granted = await get_pass(queueing)

    first = await reserve(queueing.client, granted)
    second = await reserve(queueing.client, granted, key="key-2", subjects=["qms"])
    conflict = await reserve(queueing.client, granted, key="key-3")

    assert (first.status, second.status) == (201, 201)
    assert conflict.slug == "session-conflict"


async def test_without_a_pass_nothing_is_reserved(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        refused = [await reserve(queueing.client, granted) for granted in (None, "", "  ")]

    for reply in refused[:2]:
        assert_refused(reply, 403, "waiting-room-pass-required", HEADER)
    assert refused[2].slug in {"waiting-room-pass-required", "pass-invalid"}


async def test_a_pass_that_is_forged_foreign_or_old_opens_nothing(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    granted = await get_pass(queueing)
    room, clock_ms = room_of(queueing), queueing.service.stores.waiting_room.rooms.now_ms()
    payload, _, signature = granted.partition(".")
    mine = Pass("exam-1", "candidate-1", 1, clock_ms + 60_000, SHARD.epoch)
    other_key = make_room(pass_key=b"x" * 32)
    ticket_key = dataclasses.replace(room, pass_key=room.ticket_key)
    wrong = {
        "no pass": "pass",
        "unsigned": f"{payload}.",
        "other signature": f"{payload}.{signature[::-1]}",
        "other payload": f"{write_pass(other_key, mine).partition('.')[0]}.{signature}",
        "another key": write_pass(other_key, mine),
        "the key of tickets": write_pass(ticket_key, mine),
        "of another exam": write_pass(room, dataclasses.replace(mine, exam="exam-2")),
        "of another candidate": write_pass(room, dataclasses.replace(mine, candidate="c-2")),
        "ending too late": write_pass(
            room, dataclasses.replace(mine, expires_ms=clock_ms + 2 * PERIOD_MS)
        ),
        "too long": granted * 10,
    }

    for name, text in wrong.items():
        async with nothing_changes():
            refused = await reserve(queueing.client, text)
        assert refused.slug == "pass-invalid", name
        assert_refused(refused, 403, "pass-invalid", HEADER)
    stolen = await reserve(queueing.client, granted, candidate="candidate-2")
    assert_refused(stolen, 403, "pass-invalid", HEADER)


async def test_every_changed_letter_of_a_pass_is_noticed(queueing: Running) -> None:
    granted = await get_pass(queueing)
    changed = [
        granted[:i] + ("A" if granted[i] != "A" else "B") + granted[i + 1 :]
        for i in range(0, len(granted), 3)
    ]

    refused = [await reserve(queueing.client, text) for text in changed]

    assert {reply.slug for reply in refused} == {"pass-invalid"}


async def test_an_expired_pass_opens_nothing(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    await get_pass(queueing)
    past_ms = queueing.service.stores.waiting_room.rooms.now_ms() - 1
    old = write_pass(room_of(queueing), Pass("exam-1", "candidate-1", 1, past_ms, SHARD.epoch))

    async with nothing_changes():
        refused = await reserve(queueing.client, old)

    assert_refused(refused, 403, "pass-expired", HEADER)


async def test_a_finished_place_opens_nothing_any_more(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    granted = await get_pass(queueing)
    await finish(queueing.client)

    async with nothing_changes():
        refused = await reserve(queueing.client, granted)

    assert_refused(refused, 403, "pass-ended", HEADER)


async def test_a_place_that_was_idle_opens_nothing_before_and_after_it_is_cleaned_up(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    granted = await get_pass(queueing)

    now_ms = await redis_now_ms(redis_client)
    await redis_client.zadd(SHARD.key("places"), {"candidate-1": now_ms})
    idle = await reserve(queueing.client, granted)
    await redis_client.zrem(SHARD.key("places"), "candidate-1")
    cleaned = await reserve(queueing.client, granted)

    assert_refused(idle, 403, "pass-ended", HEADER)
    assert_refused(cleaned, 403, "pass-ended", HEADER)


@pytest.mark.parametrize(
    ("members", "end"),
    [
        ({}, 201),
        ({"subjects": ["ems"], "venues": ["tianjin"]}, 409),
    ],
    ids=["held", "sold out"],
)
async def test_a_place_that_is_used_is_kept_but_no_longer_than_its_pass(
    queueing: Running, redis_client: "redis.asyncio.Redis", members: Any, end: int
) -> None:
    granted = await get_pass(queueing)
    now_ms = await redis_now_ms(redis_client)
    places = SHARD.key("places")

    await redis_client.zadd(places, {"candidate-1": now_ms + 60_000})
    used = await reserve(queueing.client, granted, **members)
    free_ms = await redis_client.zscore(places, "candidate-1")

    assert used.status == end
    assert free_ms == pytest.approx(now_ms + 300_000, abs=60_000)


async def test_a_refusal_by_the_pass_does_not_bring_a_place_back(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    granted = await get_pass(queueing)
    await redis_client.zadd(SHARD.key("places"), {"candidate-1": 1})

    await reserve(queueing.client, granted)

    assert await redis_client.zscore(SHARD.key("places"), "candidate-1") == 1


async def test_a_repeat_is_answered_as_the_first_was_though_the_pass_has_ended(
    queueing: Running,
) -> None:
    granted = await get_pass(queueing)
    first = await reserve(queueing.client, granted)
    await finish(queueing.client)
    past_ms = queueing.service.stores.waiting_room.rooms.now_ms() - 1
    expired = write_pass(room_of(queueing), Pass("exam-1", "candidate-1", 1, past_ms, SHARD.epoch))

    again = [await reserve(queueing.client, each) for each in (granted, expired, None)]
    other = await reserve(queueing.client, granted, key="key-2", subjects=["qms"])

    assert [(reply.status, reply.body) for reply in again] == [(201, first.body)] * 3
    assert all(reply.headers["Idempotency-Replayed"] == "true" for reply in again)
    assert_refused(other, 403, "pass-ended", HEADER)


async def test_a_pass_of_an_earlier_ticket_ends_when_a_later_one_is_used(queueing: Running) -> None:
    first = await get_pass(queueing)
    await finish(queueing.client)
    second = await get_pass(queueing)

    refused = await reserve(queueing.client, first)
    taken = await reserve(queueing.client, second)

    assert_refused(refused, 403, "pass-ended", HEADER)
    assert taken.status == 201


async def test_a_pass_that_redis_has_forgotten_is_taken_up_again(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    granted = await get_pass(queueing)

    await lose_everything(queueing.service)
    await recover_shards(queueing.service)
    taken = await reserve(queueing.client, granted)
    place = await redis_client.zscore(SHARD.key("places"), "candidate-1")
    await finish(queueing.client)
    refused = await reserve(queueing.client, granted, key="key-2", subjects=["qms"])

    assert taken.status == 201
    assert place is not None
    assert_refused(refused, 403, "pass-ended", HEADER)


async def test_a_pass_of_this_epoch_that_redis_does_not_know_is_not_taken_up(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    granted = await get_pass(queueing)

    await redis_client.delete(SHARD.key("places"), SHARD.key("passes"))
    refused = await reserve(queueing.client, granted)

    assert_refused(refused, 403, "pass-ended", HEADER)


async def test_a_pass_that_was_finished_stays_finished_when_redis_is_rebuilt(
    queueing: Running,
) -> None:
    """Redis still knows of it: the epoch is new, and what it has is not forgotten."""
    granted = await get_pass(queueing)
    await finish(queueing.client)
    await redis_of(queueing.service).delete(SHARD.key("epoch"))
    await recover_shards(queueing.service)

    refused = await reserve(queueing.client, granted)

    assert_refused(refused, 403, "pass-ended", HEADER)


async def test_an_exam_without_a_waiting_room_looks_at_no_pass(api: ApiClient) -> None:
    reply = await reserve(api, "whatever")

    assert reply.status == 201


async def test_when_the_room_is_switched_off_everybody_reserves(queueing: Running) -> None:
    refused = await reserve(queueing.client, None)
    definition = room_definition(opens_in_s=-60)
    del definition["waiting_room"]
    await queueing.client.import_exam(definition)

    assert refused.slug == "waiting-room-pass-required"
    assert (await reserve(queueing.client, None)).status == 201


async def test_the_room_is_not_switched_off_while_candidates_wait_unless_ops_force_it(
    drawing: Running,
) -> None:
    api = drawing.client
    definition = room_definition(opens_in_s=3600, closes_in_s=7200)
    del definition["waiting_room"]
    await join(api, "candidate-1")

    refused = await api.import_exam(definition)
    odd, forced = [
        await api.call("PUT", f"/v1/exams/exam-1?force={force}", key=api.ops_key, json=definition)
        for force in ("yes", "true")
    ]

    assert_refused(refused, 409, "candidates-waiting")
    assert refused.json["waiting"] == 1
    assert_refused(odd, 422, "invalid-request", "force")
    assert forced.status == 200
    assert_refused(await api.get("/v1/exams/exam-1/waiting-room"), 409, "waiting-room-off")


async def test_after_the_end_of_registration_that_is_what_is_told(queueing: Running) -> None:
    known = queueing.service.stores.registry.find("exam-1")
    now_ms = queueing.service.stores.waiting_room.rooms.now_ms()
    window = dataclasses.replace(known.registration, closes_at_ms=now_ms - 1)
    await import_exam(
        queueing.service.stores.maintenance, dataclasses.replace(known, registration=window)
    )

    assert_refused(await reserve(queueing.client, None), 409, "registration-closed")


async def test_an_order_that_is_wrong_is_told_so_before_its_pass_is_looked_at(
    queueing: Running,
) -> None:
    assert_refused(await reserve(queueing.client, None, venues=["atlantis"]), 422, "unknown-venue")


async def test_many_with_passes_in_one_turn_do_not_take_each_others_places(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    """Requests with and without a live place leave in one call of the script."""
    passes = {f"candidate-{i}": await get_pass(queueing, f"candidate-{i}") for i in range(6)}
    for candidate in ("candidate-1", "candidate-4"):
        await finish(queueing.client, candidate)

    replies = await asyncio.gather(
        *(
            reserve(queueing.client, granted, candidate, key=candidate, venues=["tianjin"])
            for candidate, granted in passes.items()
        )
    )

    assert [reply.status for reply in replies] == [201, 403, 201, 201, 403, 201]
    assert await redis_client.zcard(SHARD.key("places")) == 4


async def test_the_gate_is_answered_as_documented(queueing: Running) -> None:
    contract, granted = Contract(), await get_pass(queueing)
    past_ms = queueing.service.stores.waiting_room.rooms.now_ms() - 1
    expired = write_pass(room_of(queueing), Pass("exam-1", "candidate-1", 1, past_ms, SHARD.epoch))
    replies = [
        await reserve(queueing.client, None),
        await reserve(queueing.client, "x.y"),
        await reserve(queueing.client, expired),
        await reserve(queueing.client, granted),
    ]
    await finish(queueing.client)
    replies.append(await reserve(queueing.client, granted, key="key-2"))

    assert [reply.status for reply in replies] == [403, 403, 403, 201, 403]
    for reply in replies:
        contract.check(RESERVE, reply)


async def test_a_postponed_opening_is_answered_as_documented(drawing: Running) -> None:
    contract, client = Contract(), drawing.client
    ticket = (await join(client)).json["ticket"]
    await let_open(drawing.service)
    await admit_draw(drawing.service)
    granted = (await claim(client, ticket)).json["pass"]

    await open_room(drawing.service)
    shown, behind = await look(client), await join(client, "candidate-2")
    early, refused = await claim(client, ticket), await reserve(client, granted)
    await let_open(drawing.service)
    taken = await reserve(client, granted)

    for call, reply in [
        ("GET /v1/exams/{exam}/waiting-room", shown),
        ("POST /v1/exams/{exam}/waiting-room", behind),
        ("POST /v1/exams/{exam}/waiting-room/claims", early),
        (RESERVE, refused),
        (RESERVE, taken),
    ]:
        contract.check(call, reply)
    assert (shown.json["phase"], shown.json["seed"] is None) == ("before", False)
    assert (behind.json["number"], behind.json["eta_s"] > 3000) == (1, True)
    assert_refused(early, 409, "not-your-turn")
    assert_refused(refused, 409, "registration-not-open")
    assert taken.status == 201
