"""Ops administer a waiting room over HTTP, and the processes that serve tell it how they are."""

import time
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.ledger.api_keys import Scope
from tests.conftest import Running
from tests.support.admissions import RoomUnderTest, open_room, room_definition
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.redis_clients import redis_of
from tests.support.serving import serving
from tests.support.supervised import supervised
from tests.support.waiting import eventually

ROOM = "/v1/exams/exam-2/waiting-room"
CALLS = [("PUT", ""), ("POST", "/pause"), ("POST", "/resume")]


@pytest.fixture
async def room(running: Running) -> RoomUnderTest:
    """A room with a queue, which the running service serves."""
    opened = await open_room(running.service)
    await opened.queue(1000)
    await opened.second()
    return opened


async def administer(
    api: ApiClient, method: str, what: str, body: Any = None, *, room: str = ROOM
) -> Reply:
    """Call as ops; a PUT sets a rate unless told otherwise."""
    body = {"rate": 7.5} if method == "PUT" and body is None else body
    return await api.call(method, f"{room}{what}", key=api.ops_key, json=body)


async def test_a_rate_is_set_told_at_once_and_let_go_again(
    api: ApiClient, room: RoomUnderTest
) -> None:
    fixed = await administer(api, "PUT", "", {"rate": 7})
    served = await room.second()
    public = await api.get(ROOM, key=None)
    adaptive = await administer(api, "PUT", "", {"rate": None})

    assert (fixed.status, fixed.json["rate"], fixed.json["fixed_rate"]) == (200, 7, 7)
    assert served == 7
    assert "fixed_rate" not in public.json
    assert (adaptive.json["rate"], adaptive.json["fixed_rate"]) == (7, None)
    assert (adaptive.json["serving"], adaptive.json["leader_epoch"]) == (7, 1)


async def test_a_pause_is_told_to_everybody_at_once_and_ends_when_ops_say_so(
    api: ApiClient, room: RoomUnderTest
) -> None:
    paused = await administer(api, "POST", "/pause")
    told = await api.get(ROOM, key=None)
    again = await administer(api, "POST", "/pause")
    during = await room.second()
    resumed = await administer(api, "POST", "/resume")
    after = await room.second()

    assert [reply.json["paused"] for reply in (paused, told, again, resumed)] == [
        True,
        True,
        True,
        False,
    ]
    assert (during, after) == (0, 10)


async def test_ops_see_who_is_inside_and_what_every_process_reports(
    api: ApiClient, room: RoomUnderTest
) -> None:
    await room.enter(3)
    await redis_of(room.service).hset(
        room.shard.key("signals"), "odd", f"{round(time.time() * 1000)}|nonsense"
    )

    seen = (await administer(api, "POST", "/resume")).json

    measures = {report["process"]: report["measures"] for report in seen["signals"]}
    assert seen["places"] == 3
    assert measures["process-1"]["requests"] == 100
    assert measures["odd"] is None


@pytest.mark.usefixtures("room")
async def test_a_process_that_serves_reports_its_load_by_itself(api: ApiClient) -> None:
    await api.reserve("candidate-1")

    async def is_told() -> bool:
        seen = (await administer(api, "POST", "/resume")).json
        ours = [each for each in seen["signals"] if each["process"] != "process-1"]
        return bool(ours) and ours[0]["measures"]["requests"] > 0

    await eventually(is_told)


async def test_each_of_several_processes_reports_what_it_saw_itself(service: Service) -> None:
    room = await open_room(service)
    async with supervised(service.settings, 2):

        async def are_told() -> bool:
            reports = (await service.stores.waiting_room.room_statistics.read(room.shard)).reports
            return len(reports) == 2 and all(report.signals is not None for report in reports)

        await eventually(are_told)


async def test_a_candidate_is_let_in_by_the_workers_and_the_api_alone(service: Service) -> None:
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    async with serving(service, frontend, ops, workers=True) as served:
        api = served.client
        await api.import_exam(room_definition())

        async def joins() -> bool:  # until the room is known to the process
            return (await api.call("POST", ROOM, json={"candidate": "candidate-1"})).status == 201

        await eventually(joins)
        ticket = (await api.call("POST", ROOM, json={"candidate": "candidate-1"})).json["ticket"]
        claim = {"candidate": "candidate-1", "ticket": ticket}

        async def has_turn() -> bool:
            return bool((await api.get(ROOM, key=None)).json["serving"] >= 1)

        await eventually(has_turn)
        claimed = await api.call("POST", f"{ROOM}/claims", json=claim)

    assert claimed.status == 201


@pytest.mark.parametrize("rate", [0, -1, 0.001, 1e9, "7", True, [7], {}])
async def test_a_rate_that_is_none_is_refused_and_changes_nothing(
    api: ApiClient, room: RoomUnderTest, rate: object
) -> None:
    refused = await administer(api, "PUT", "", {"rate": rate})

    assert (refused.status, refused.slug) == (422, "invalid-request")
    assert [error["field"] for error in refused.json["errors"]] == ["rate"]
    assert (await room.room()).fixed_rate is None


async def test_a_rate_has_to_be_named_and_nothing_else(api: ApiClient, room: RoomUnderTest) -> None:
    missing = await administer(api, "PUT", "", {})
    unknown = await administer(api, "PUT", "", {"rate": 7, "colour": "red"})

    assert [error["field"] for error in missing.json["errors"]] == ["rate"]
    assert [error["field"] for error in unknown.json["errors"]] == ["colour"]
    assert (await room.room()).fixed_rate is None


@pytest.mark.parametrize(("method", "what"), CALLS)
async def test_who_may_not_administer_is_refused_and_changes_nothing(
    api: ApiClient, room: RoomUnderTest, method: str, what: str
) -> None:
    before = await room.room()
    body = {"rate": 7} if method == "PUT" else None

    without = await api.call(method, f"{ROOM}{what}", key=None, json=body)
    frontend = await api.call(method, f"{ROOM}{what}", json=body)

    assert (without.slug, frontend.slug) == ("unauthorized", "forbidden")
    assert await room.room() == before


@pytest.mark.parametrize(("method", "what"), CALLS)
async def test_an_exam_without_a_room_has_nothing_to_administer(
    api: ApiClient, method: str, what: str
) -> None:
    off = await administer(api, method, what, room="/v1/exams/exam-1/waiting-room")
    unknown = await administer(api, method, what, room="/v1/exams/nowhere/waiting-room")

    assert (off.status, off.slug) == (409, "waiting-room-off")
    assert (unknown.status, unknown.slug) == (404, "unknown-exam")


@pytest.mark.parametrize(("method", "what"), CALLS)
async def test_administering_is_answered_as_documented(
    api: ApiClient, room: RoomUnderTest, method: str, what: str
) -> None:
    await room.report()
    contract, call = Contract(), f"{method} /v1/exams/{{exam}}/waiting-room{what}"

    contract.check(call, await administer(api, method, what))
    contract.check(call, await administer(api, method, what, {"rate": 0, "colour": "red"}))
    contract.check(call, await administer(api, method, what, room="/v1/exams/exam-1/waiting-room"))
