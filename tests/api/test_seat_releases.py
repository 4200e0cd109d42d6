"""Seat releases over HTTP: planned, listed, cancelled, announced, refused."""

import time
from typing import Any

from quota_service.domain.definition import rfc3339
from quota_service.workers.seat_releases import SeatReleaseWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.exams import exam_definition
from tests.support.lost_shards import rows
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

PATH = "/v1/exams/exam-1/seat-releases"
WHY = "the venue has opened a hall"
SEATS = {"jinan": {"general": 2}}


def at(in_s: float) -> str:
    return rfc3339(round((time.time() + in_s) * 1000))


def body(**members: Any) -> dict[str, Any]:
    planned = {"id": "evening", "at": at(600), "announce": "everything", "seats": SEATS}
    return {**planned, "reason": WHY, **members}


async def post(api: ApiClient, **members: Any) -> Reply:
    return await api.call("POST", PATH, key=api.ops_key, json=body(**members))


async def cancel(api: ApiClient, name: str = "evening", query: str = "?reason=why") -> Reply:
    return await api.call("DELETE", f"{PATH}/{name}{query}", key=api.ops_key)


async def test_a_release_is_planned_once_listed_and_cancelled(api: ApiClient) -> None:
    wanted = body()

    first = await api.call("POST", PATH, key=api.ops_key, json=wanted)
    again = await api.call("POST", PATH, key=api.ops_key, json=wanted)
    other = await post(api, announce="time")
    one = await api.get(f"{PATH}/evening", key=api.ops_key)
    cancelled = await cancel(api)
    repeated = await cancel(api)
    listed = await api.get(PATH, key=api.ops_key)

    assert first.status == again.status == 201
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json == again.json == one.json
    assert first.json == {
        **{name: wanted[name] for name in ("id", "at", "announce", "seats", "reason")},
        "exam": "exam-1",
        "source": "ops",
        "state": "planned",
        "planned_at": first.json["planned_at"],
        "ended_at": None,
    }
    assert_refused(other, 409, "release-exists")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert repeated.json == cancelled.json
    assert listed.json == {"exam": "exam-1", "releases": [cancelled.json]}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"seats": {"mars": {"general": 1}}}, "unknown-venue", "seats.mars"),
    ({"seats": {"jinan": {"alchemy": 1}}}, "unknown-subject", "seats.jinan.alchemy"),
    ({"seats": {"beijing": {"qms": 1}}}, "unknown-quota", "seats.beijing.qms"),
    ({"seats": {"jinan": {"qms": 1_000_000}}}, "too-many-seats", "seats.jinan.qms"),
    ({"at": "2023-03-14T20:00:00+08:00"}, "release-past", "at"),
    ({"at": "2123-03-14T20:00:00+08:00"}, "release-too-late", "at"),
    ({"at": "2023-03-14T20:00:00"}, "invalid-request", "at"),
    ({"seats": {}}, "invalid-request", "seats"),
    ({"seats": {"jinan": {"qms": 0}}}, "invalid-request", "seats.jinan.qms"),
    ({"seats": {"jinan": {"qms": -1}}}, "invalid-request", "seats.jinan.qms"),
    ({"seats": {"Jinan!": {"qms": 1}}}, "invalid-request", "seats.Jinan!"),
    ({"seats": [1]}, "invalid-request", "seats"),
    ({"announce": "all"}, "invalid-request", "announce"),
    ({"id": "Evening"}, "invalid-request", "id"),
    ({"reason": ""}, "invalid-request", "reason"),
    ({"until": 1}, "invalid-request", "until"),
]


async def test_what_makes_no_sense_is_refused_by_its_slug_and_field(api: ApiClient) -> None:
    for members, slug, field in WRONG:
        reply = await post(api, **members)

        assert_refused(reply, 422, slug)
        assert [error["field"] for error in reply.json["errors"]] == [field], members
    assert (await api.get(PATH, key=api.ops_key)).json["releases"] == []


async def test_a_release_that_there_is_not_or_that_has_happened_is_not_cancelled(
    running: Running,
) -> None:
    api = running.client
    past = {"id": "evening", "at": at(-1), "announce": "time", "seats": SEATS}
    await api.import_exam({**exam_definition(), "releases": [past]})

    assert_refused(await cancel(api, "noon"), 404, "unknown-release")
    assert_refused(await api.get(f"{PATH}/noon", key=api.ops_key), 404, "unknown-release")
    assert_refused(await cancel(api), 409, "release-done")
    assert_refused(await cancel(api, query=""), 422, "invalid-request")
    assert_refused(await cancel(api, query="?why=x"), 422, "invalid-request")
    other_exam = PATH.replace("exam-1", "exam-2")
    assert_refused(await api.get(other_exam, key=api.ops_key), 404, "unknown-exam")
    frontend = await api.call("POST", PATH, key=api.frontend_key, json=body())
    assert_refused(frontend, 403, "forbidden")


async def test_what_is_announced_is_in_the_exam_and_the_next_one_in_its_availability(
    running: Running,
) -> None:
    api = running.client
    public = "/v1/exams/exam-1"
    plain = (await api.get(f"{public}/availability", key=None)).json
    await post(api, id="c", at=at(900), announce="everything")
    times = {name: at(600 + n) for n, name in enumerate(("n", "a", "b"))}
    await post(api, id="n", at=times["n"], announce="nothing")
    await post(api, id="b", at=times["b"], announce="time-and-venues")
    etag = (await api.get(f"{public}/availability", key=None)).headers["ETag"]

    await post(api, id="a", at=times["a"], announce="time")
    shown = (await api.get(public, key=None)).json["releases"]
    changed = await api.get(f"{public}/availability", key=None, headers={"If-None-Match": etag})
    filtered = await api.get(f"{public}/availability?subjects=qms", key=None)
    await cancel(api, "a")
    await cancel(api, "b")
    last = await api.get(f"{public}/availability", key=None)
    await cancel(api, "c")
    none = await api.get(f"{public}/availability", key=None)

    assert [(each["id"], sorted(each)) for each in shown] == [
        ("a", ["at", "id"]),
        ("b", ["at", "id", "venues"]),
        ("c", ["at", "id", "seats", "venues"]),
    ]
    assert changed.status == 200
    assert changed.json["next_release"] == {"id": "a", "at": times["a"]}
    assert filtered.json["next_release"] == {"id": "a", "at": times["a"]}
    assert last.json["next_release"]["seats"] == SEATS
    assert "next_release" not in none.json
    assert "next_release" not in plain
    assert none.json.keys() == plain.keys()


async def test_the_next_release_is_gone_once_its_seats_are_there(running: Running) -> None:
    api, stores = running.client, running.service.stores
    await stores.clock.read()
    await post(api)
    await rows(running.service, "UPDATE seat_releases SET at = now() RETURNING id")
    worker = SeatReleaseWorker(stores)

    async def has_come() -> bool:
        await worker.run_once()
        left = (await api.get("/v1/exams/exam-1/availability", key=None)).json
        seats = {(each["venue"], each["subject"]): each["remaining"] for each in left["quotas"]}
        return "next_release" not in left and seats["jinan", "general"] == 5

    await eventually(has_come)
    assert (await api.get(f"{PATH}/evening", key=api.ops_key)).json["state"] == "done"
