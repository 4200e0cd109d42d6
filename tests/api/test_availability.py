"""Availability: what is left everywhere, from memory, at no cost to those who reserve."""

import asyncio
import datetime as dt

import pytest
import redis.asyncio

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.exams import SEATS, exam_definition
from tests.support.raw_http import exchange, request, status
from tests.support.waiting import eventually

PATH = "/v1/exams/exam-1/availability"
NEVER_AGAIN_MS = 3_600_000


async def calls(client: "redis.asyncio.Redis", command: str) -> int:
    """Return how often Redis has run a command, by its own count."""
    stats = await client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def looks(running: Running) -> float:
    """Return how often the service has asked Redis for seats."""
    sample = "quota_redis_script_duration_seconds_count"
    metrics = running.service.stores.metrics
    return metrics.registry.get_sample_value(sample, {"script": "snapshot"}) or 0


def seats(reply: Reply) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (q["venue"], q["subject"]): (q["remaining"], q["capacity"]) for q in reply.json["quotas"]
    }


async def test_every_quota_is_told_with_what_is_left_of_it(api: ApiClient) -> None:
    await api.reserve("candidate-1", ("general", "qms"), ("jinan",))

    reply = await api.get(PATH, key=None)

    expected = {
        (venue, subject): (n, n) for venue, quotas in SEATS.items() for subject, n in quotas.items()
    }
    expected["jinan", "general"] = (2, 3)
    expected["jinan", "qms"] = (1, 2)
    assert set(reply.json) == {"exam", "version", "revision", "as_of", "quotas", "venues_with_all"}
    assert seats(reply) == expected
    assert len(reply.json["quotas"]) == len(expected)
    assert reply.headers["Content-Type"].startswith("application/json")
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(reply.json["as_of"])
    assert abs(age) < dt.timedelta(minutes=1)


async def test_the_filter_keeps_the_subjects_asked_for_and_names_the_venues_with_all(
    api: ApiClient,
) -> None:
    await api.reserve("candidate-1", ("service",), ("beijing",))

    one = await api.get(f"{PATH}?subjects=service")
    two = await api.get(f"{PATH}?subjects=general,service")
    repeated = await api.get(f"{PATH}?subjects=service&subjects=general,general")
    not_offered_everywhere = await api.get(f"{PATH}?subjects=ems")

    assert {subject for _, subject in seats(one)} == {"service"}
    assert one.json["venues_with_all"] == ["jinan", "tianjin"]
    assert {subject for _, subject in seats(two)} == {"general", "service"}
    assert two.json["venues_with_all"] == ["jinan", "tianjin"]
    assert seats(repeated) == seats(two)
    assert not_offered_everywhere.json["venues_with_all"] == ["jinan"]
    assert seats(not_offered_everywhere)["tianjin", "ems"] == (0, 0)


async def test_seats_that_are_held_or_booked_are_gone_and_come_back_with_a_release(
    api: ApiClient,
) -> None:
    async def left() -> int:
        return await api.remaining("jinan", "general")

    held = (await api.reserve("candidate-1")).json
    other = (await api.reserve("candidate-2")).json
    after_holds = await left()
    await api.pay(held)
    await api.call("DELETE", f"/v1/reservations/{other['id']}")

    assert (after_holds, await left()) == (1, 2)


@pytest.mark.parametrize(
    ("query", "slug", "named"),
    [
        ("subjects=alchemy", "unknown-subject", "subjects"),
        ("subjects=general,", "unknown-subject", "subjects"),
        ("subjects=", "unknown-subject", "subjects"),
        ("subjects=GENERAL", "unknown-subject", "subjects"),
        ("subjects=%E2%80%AE", "unknown-subject", "subjects"),
        ("subjects=%00", "unknown-subject", "subjects"),
        ("subjects=%ff", "unknown-subject", "subjects"),
        ("subjects=" + ",".join(map(str, range(200))), "invalid-request", "subjects"),
        ("subject=general", "invalid-request", "subject"),
        ("subjects=general&venue=jinan", "invalid-request", "venue"),
    ],
)
async def test_a_filter_that_is_wrong_is_refused_by_its_name(
    api: ApiClient, nothing_changes: NothingChanges, query: str, slug: str, named: str
) -> None:
    async with nothing_changes():
        reply = await api.get(f"{PATH}?{query}")

    assert (reply.status, reply.slug) == (422, slug)
    assert [error["field"] for error in reply.json["errors"]] == [named]


async def test_who_knows_the_latest_is_told_only_that_it_is_the_latest(api: ApiClient) -> None:
    etag = (await api.get(PATH)).headers["ETag"]
    strong = etag.removeprefix("W/")
    naming_it = [etag, strong, "*", f'"a", {etag}', f'W/"b",{strong} , "c"']
    others = ['"a"', 'W/"a", "b"', "", etag[:-2] + '"', strong.strip('"'), f"{etag}x"]

    known = [await api.get(PATH, headers={"If-None-Match": value}) for value in naming_it]
    unknown = [await api.get(PATH, headers={"If-None-Match": value}) for value in others]
    in_two_lines = await exchange(
        api.url, request("GET", PATH, 'If-None-Match: "a"', f"If-None-Match: {etag}")
    )

    assert etag.startswith('W/"')
    for reply in known:
        assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", etag)
    assert status(in_two_lines) == 304
    assert [reply.status for reply in unknown] == [200] * len(others)


async def test_a_definition_that_changed_is_another_tag_though_no_seat_moved(
    api: ApiClient,
) -> None:
    """The client that asks with the tag it has gets the venue that was added."""
    definition = exam_definition()
    await api.import_exam(definition)
    before = await api.get(PATH)
    definition["venues"].append({"id": "xian", "title": {"zh": "西安", "en": "Xi'an"}})
    await api.import_exam(definition)

    async def is_new() -> bool:
        return (await api.get(PATH)).headers["ETag"] != before.headers["ETag"]

    await eventually(is_new)
    after = await api.get(PATH, headers={"If-None-Match": before.headers["ETag"]})

    assert after.status == 200
    assert after.json["version"] == before.json["version"]
    assert after.json["revision"] > before.json["revision"]


async def test_the_version_changes_with_every_step_and_with_it_the_tag(api: ApiClient) -> None:
    before = await api.get(PATH)
    await api.reserve()

    async def is_new() -> bool:
        reply = await api.get(PATH, headers={"If-None-Match": before.headers["ETag"]})
        return reply.status == 200

    await eventually(is_new)
    after = await api.get(PATH)

    assert after.json["version"] > before.json["version"]
    assert after.headers["ETag"] != before.headers["ETag"]
    assert (await api.get(PATH, headers={"If-None-Match": after.headers["ETag"]})).status == 304


@pytest.mark.settings(availability_refresh_ms=NEVER_AGAIN_MS)
async def test_a_crowd_that_looks_costs_redis_one_question(
    api: ApiClient, running: Running
) -> None:
    before = looks(running)

    crowd = await asyncio.gather(*(api.get(PATH, key=None) for _ in range(300)))
    filtered = await asyncio.gather(
        *(api.get(f"{PATH}?subjects={s}") for s in ("general", "qms", "ems,service") * 20)
    )
    asked = looks(running) - before

    assert {reply.status for reply in (*crowd, *filtered)} == {200}
    assert len({reply.body for reply in crowd}) == 1
    assert asked == 1


@pytest.mark.settings(availability_refresh_ms=NEVER_AGAIN_MS)
async def test_each_exam_is_asked_for_by_itself(api: ApiClient, running: Running) -> None:
    await api.import_exam(exam_definition("exam-2"))
    before = looks(running)

    first = await api.get("/v1/exams/exam-1/availability")
    second = await api.get("/v1/exams/exam-2/availability")
    unknown = await asyncio.gather(*(api.get("/v1/exams/exam-3/availability") for _ in range(20)))

    assert (first.json["exam"], second.json["exam"]) == ("exam-1", "exam-2")
    assert {reply.slug for reply in unknown} == {"unknown-exam"}
    assert looks(running) - before == 2


async def test_while_nobody_looks_redis_is_not_asked(
    api: ApiClient, running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    await api.get(PATH)
    asked = looks(running)
    rounds = await calls(redis_client, "time")

    # The health check reads the clock once a second, a hundred refresh intervals.
    async def a_second_has_passed() -> bool:
        return await calls(redis_client, "time") > rounds

    await eventually(a_second_has_passed)

    assert looks(running) == asked


async def test_an_answer_is_never_older_than_the_refresh_interval(running: Running) -> None:
    interval = dt.timedelta(milliseconds=running.service.settings.availability_refresh_ms)
    first = asked_at = dt.datetime.now(dt.UTC)

    while asked_at < first + 5 * interval:
        asked_at = dt.datetime.now(dt.UTC)
        as_of = dt.datetime.fromisoformat((await running.client.get(PATH)).json["as_of"])
        # Told in whole milliseconds by the clock of Redis, which is that of this machine.
        assert as_of > asked_at - interval - dt.timedelta(milliseconds=2)


async def test_more_seats_are_seen_after_an_import(api: ApiClient) -> None:
    more = exam_definition(seats={**SEATS, "beijing": {"general": 4, "service": 1}})
    await api.get(PATH)

    imported = await api.import_exam(more)

    async def are_seen() -> bool:
        return seats(await api.get(PATH))["beijing", "general"] == (4, 4)

    assert imported.status == 200
    await eventually(are_seen)


async def test_no_more_is_left_of_a_quota_than_under_the_ceiling_of_its_session(
    api: ApiClient,
) -> None:
    rooms = {"jinan": {"day1-pm": 1, "day2-am": 0}, "tianjin": {"day1-pm": 9}}
    await api.import_exam({**exam_definition("exam-2"), "rooms": rooms})
    path = "/v1/exams/exam-2/availability"

    limited = await api.get(path)
    one = await api.get(f"{path}?subjects=qms,service")
    await api.import_exam({**exam_definition("exam-2"), "rooms": {"jinan": {"day1-pm": 2}}})

    async def is_raised() -> bool:
        return seats(await api.get(path))["jinan", "qms"] == (2, 2)

    await eventually(is_raised)
    raised = await api.get(path)

    assert {quota: left for quota, left in seats(limited).items() if left[0] != left[1]} == {
        ("jinan", "qms"): (1, 2),
        ("jinan", "ems"): (1, 2),
        ("jinan", "service"): (0, 1),
    }
    assert one.json["venues_with_all"] == ["tianjin"]
    assert seats(raised)["jinan", "service"] == (1, 1)


async def test_seats_that_wait_for_an_announced_time_are_told_beside_those_that_remain(
    api: ApiClient,
) -> None:
    rule = {"rule": "at-times", "times": ["10:00"]}
    await api.import_exam({**exam_definition("exam-2"), "returned": rule})
    path = "/v1/exams/exam-2/availability"
    before = await api.get(path)
    held = await api.reserve(exam="exam-2", subjects=("qms",), venues=("jinan",))

    await api.call("DELETE", f"/v1/reservations/{held.json['id']}")

    async def has_come_back() -> bool:
        found = {(q["venue"], q["subject"]): q for q in (await api.get(path)).json["quotas"]}
        qms = found["jinan", "qms"]
        return (qms["remaining"], qms["returned"], qms["capacity"]) == (1, 1, 2)

    await eventually(has_come_back)
    assert {quota["returned"] for quota in before.json["quotas"]} == {0}
    assert all("returned" not in quota for quota in (await api.get(PATH)).json["quotas"])
