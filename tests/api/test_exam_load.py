"""Ops see what comes, what is let in, held, refused and left, from what the stores hold."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.registration.drain_journal import drain_journal
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ShardSnapshot
from quota_service.seats.store import SeatStore
from tests.conftest import Running
from tests.support.admissions import RoomUnderTest, open_room
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

EXAM = "/v1/exams/exam-1"


async def load(api: ApiClient, query: str = "", exam: str = EXAM) -> Reply:
    return await api.get(f"{exam}/load{query}", key=api.ops_key)


def at_s(time: str) -> float:
    return dt.datetime.fromisoformat(time).timestamp()


async def drain(service: Service) -> None:
    shard = service.stores.registry.shard("exam-1")
    assert (await drain_journal(service.stores.maintenance, shard, 1000, 3)).stored


async def age(service: Service, seconds: int) -> None:
    """Let what was done, as far as it is drained, be that much longer ago."""
    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE journal SET at = at - make_interval(secs => $1)", seconds)


async def test_seats_are_told_by_what_has_become_of_them_of_all_or_of_a_scope(
    api: ApiClient, contract: Contract
) -> None:
    held = await api.reserve("c-1", ("general", "qms"), ("jinan",))
    paid = await api.reserve("c-2", ("general",), ("tianjin",))
    await api.pay(paid.json)

    whole = await load(api)
    jinan, general = await load(api, "?venue=jinan"), await load(api, "?subject=general")

    contract.check("GET /v1/exams/{exam}/load", whole)
    assert held.status == 201
    assert whole.json["live_holds"] == 1
    assert whole.json["waiting_room"] is None
    assert whole.json["scope"] == {"venue": None, "subject": None}
    for reply, seats in ((whole, (2, 1)), (jinan, (2, 0)), (general, (1, 1))):
        sums = reply.json["seats"]
        assert (sums["held"], sums["confirmed"]) == seats
        assert sum(sums.values()) == 2 * sums["capacity"]
    assert jinan.json["scope"] == {"venue": "jinan", "subject": None}


async def test_steps_are_told_by_the_second_once_they_are_drained(
    api: ApiClient, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as a slow machine may need from the steps to the look.
    monkeypatch.setattr("quota_service.registration.exam_load.SECONDS", 600)
    for candidate in ("c-1", "c-2"):
        given_back = await api.reserve(candidate)
    await api.call("DELETE", f"/v1/reservations/{given_back.json['id']}")
    await drain(running.service)
    await age(running.service, 60)

    told = (await load(api)).json

    seconds = told["seconds"]
    times = [at_s(second["at"]) for second in seconds]
    assert times == [times[0] + n for n in range(600)]
    assert 1 <= at_s(told["as_of"]) - (times[-1] + 1) < 2
    assert told["journal_entries"] == 0
    sums = {kind: sum(second[kind] for second in seconds) for kind in seconds[0].keys() - {"at"}}
    assert sums == {"held": 2, "confirmed": 0, "released": 1, "expired": 0}


async def test_no_more_entries_are_read_than_may_be_and_a_second_is_whole_or_left_out(
    api: ApiClient, running: Running
) -> None:
    for candidate in ("c-1", "c-2", "c-3"):
        await api.reserve(candidate)
    await drain(running.service)
    async with running.service.stores.ledger.connection() as connection:
        await connection.execute(
            "UPDATE journal SET at = to_timestamp(CASE WHEN verb <> 'reserve' THEN 0"
            " WHEN version = (SELECT max(version) FROM journal) THEN 1001.5 ELSE 1000.5 END)"
        )
    reader = running.service.stores.reader

    async def held(entries_max: int) -> dict[int, int]:
        found = await reader.steps_by_second("exam-1", 999_000, 1_003_000, entries_max)
        return {second.at_ms: second.held for second in found}

    assert await held(4) == {999_000: 0, 1_000_000: 2, 1_001_000: 1, 1_002_000: 0}
    assert await held(2) == {1_001_000: 1, 1_002_000: 0}


async def test_refusals_are_told_by_slug_and_minute(api: ApiClient, running: Running) -> None:
    for candidate in ("c-1", "c-1", "c-2"):
        await api.reserve(candidate, ("ems",), ("tianjin",))
    await api.reserve("c-3", ("general",), ("nowhere",))
    found: list[Any] = []

    async def are_kept() -> bool:
        found[:] = await running.service.stores.payments.refusals.by_minute("exam-1", 10)
        return sum(each.count for each in found) == 4

    await eventually(are_kept)

    told = (await load(api)).json["refusals"]

    assert sum(each["count"] for each in told if each["slug"] == "sold-out") == 3
    assert sum(each["count"] for each in told if each["slug"] == "unknown-venue") == 1
    assert all(each["minute"].endswith(":00.000Z") for each in told)


async def test_a_waiting_room_is_told_with_who_joined_and_who_was_admitted(
    api: ApiClient, running: Running
) -> None:
    room: RoomUnderTest = await open_room(running.service)
    await room.queue(1000)
    await room.join_draw(20)
    await room.enter(3)
    await room.second()
    await running.service.stores.waiting_room.rooms.refresh()

    told = (await load(api, exam="/v1/exams/exam-2")).json["waiting_room"]

    reports = {report["process"]: report["measures"] for report in told["signals"]}
    assert (told["admitted"], told["places"], told["fixed_rate"]) == (3, 3, None)
    assert told["joined"] == 1020
    public = await api.get("/v1/exams/exam-2/waiting-room")
    assert told["waiting"] == public.json["waiting"] > 0
    assert reports["process-1"]["requests"] == 100


async def test_all_who_ask_in_a_second_share_one_reading(
    api: ApiClient, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, stores = [], running.service.stores
    snapshot = stores.seats.snapshot
    monkeypatch.setattr(
        type(stores.seats), "snapshot", lambda _, shard: readings.append(shard) or snapshot(shard)
    )
    monkeypatch.setattr("quota_service.registration.exam_load._FRESH_S", 3600)

    first = await load(api)
    await api.reserve("c-1")
    second = await load(api, "?venue=jinan")

    assert len(readings) == 1
    assert first.json["as_of"] == second.json["as_of"]


async def test_seats_that_take_long_to_read_hold_up_nothing_else(
    api: ApiClient, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, is_read = running.service.stores, asyncio.Event()
    snapshot = stores.seats.snapshot

    async def later(_: SeatStore, shard: Shard) -> ShardSnapshot:
        await is_read.wait()
        return await snapshot(shard)

    before = await load(api)
    monkeypatch.setattr(type(stores.seats), "snapshot", later)
    monkeypatch.setattr("quota_service.registration.exam_load._FRESH_S", 0)
    monkeypatch.setattr("quota_service.registration.exam_load._LEFT_ALONE", 0)
    monkeypatch.setattr("quota_service.registration.exam_load._OLD_SEATS_AFTER_S", 0.01)
    await api.reserve("c-1")

    async def is_told() -> bool:
        reply = (await load(api)).json
        assert reply["seats_as_of"] == before.json["seats_as_of"]
        return bool(reply["live_holds"] == 1)

    await eventually(is_told)
    is_read.set()

    async def are_new() -> bool:
        return bool((await load(api)).json["seats"]["held"] == 1)

    await eventually(are_new)


async def test_what_is_unknown_is_refused(api: ApiClient) -> None:
    assert_refused(await load(api, exam="/v1/exams/exam-9"), 404, "unknown-exam")
    assert_refused(await load(api, "?venue=nowhere"), 422, "unknown-venue")
    assert_refused(await load(api, "?subject=nothing"), 422, "unknown-subject")
    assert_refused(await load(api, "?colour=red"), 422, "invalid-request", "colour")
    assert_refused(await api.get(f"{EXAM}/load"), 403, "forbidden")
