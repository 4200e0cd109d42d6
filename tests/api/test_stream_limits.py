"""Streams under strain: slow readers, too many, a store that is away, a shutdown."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from quota_service.api.stream_channel import StreamLimits
from quota_service.app.opening import Service
from quota_service.ledger.api_keys import Scope
from tests.conftest import Running
from tests.support.event_streams import (
    PATH,
    has_open,
    import_large_exam,
    opened,
    received,
    sample,
    unread,
)
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, request
from tests.support.refusals import assert_refused
from tests.support.serving import NOTICE_S, Serving, notice_given, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.settings(stream_interval_ms=10)
EVENT = re.compile(rb"event: (\w+)\nid: (\S+)\n")
BEHIND, CUT = "quota_streams_fallen_behind_total", "quota_streams_cut_total"
DRAIN_S = 90


@pytest.fixture
async def run(service: Service) -> AsyncIterator[Serving]:
    """A service whose end is in the test's hands."""
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    async with serving(service, frontend, ops) as started:
        yield started


async def take_seats(running: Running, path: str, count: int) -> None:
    """Reserve so many seats of the large exam, each told to a reader that keeps up."""
    async with opened(running.client, path=path) as keeps_up:
        await keeps_up.next()
        for i in range(count):
            venue = (f"venue-{i}",)
            await running.client.reserve(f"candidate-{i}", venues=venue, exam="exam-2")
            await keeps_up.next()


@pytest.mark.settings(StreamLimits(buffer_max_bytes=4096), stream_interval_ms=10)
async def test_a_slow_reader_misses_changes_and_gets_one_snapshot_when_it_has_read_on(
    running: Running,
) -> None:
    path = await import_large_exam(running)

    async with unread(running.client, path) as reader:
        await eventually(lambda: has_open(running, 1))
        await take_seats(running, path, 3)
        behind_before = sample(running, BEHIND)
        read = await received(reader, until=b'"venue-2","subject":"general","remaining":4')
        events = EVENT.findall(read)
        latest = await running.client.get("/v1/exams/exam-2/availability", key=None)

    assert behind_before == 0
    assert sample(running, BEHIND) == 1
    assert [name for name, _ in events] == [b"snapshot", b"snapshot"]
    assert f'W/"{events[1][1].decode()}"' == latest.headers["ETag"]
    assert sample(running, CUT) == 0


@pytest.mark.settings(StreamLimits(buffer_max_bytes=4096), stream_interval_ms=10)
async def test_a_reader_that_caught_up_hears_of_changes_again(running: Running) -> None:
    path = await import_large_exam(running)

    async with unread(running.client, path) as reader:
        await eventually(lambda: has_open(running, 1))
        await take_seats(running, path, 1)
        await received(reader, until=b'"venue-0","subject":"general","remaining":4')
        await received(reader, until=b'"venues_with_all"')
        await running.client.reserve("candidate-9", venues=("venue-9",), exam="exam-2")
        told = await received(reader, until=b'"venue-9","subject":"general","remaining":4')

    assert EVENT.findall(told)[-1][0] == b"change"


@pytest.mark.settings(
    StreamLimits(buffer_max_bytes=4096, stall_timeout_s=0.1), stream_interval_ms=10
)
async def test_a_reader_that_does_not_read_is_cut_off(running: Running) -> None:
    path = await import_large_exam(running)

    async def is_cut() -> bool:
        return sample(running, CUT) == 1

    async with unread(running.client, path) as reader:
        await eventually(is_cut)
        await eventually(lambda: has_open(running, 0))
        read = await received(reader, until=b"never told")

    assert read.count(b"venues_with_all") == 0


@pytest.mark.settings(stream_interval_ms=10, streams_max=2)
async def test_streams_beyond_the_limit_are_refused_until_one_is_closed(running: Running) -> None:
    api = running.client

    async with opened(api) as kept:
        async with opened(api):
            beyond = await api.get(PATH, key=None)
            looked = await api.get("/v1/exams/exam-1/availability", key=None)
        await eventually(lambda: has_open(running, 1))
        async with opened(api) as another:
            first = await another.next()
        await kept.next()

    assert_refused(beyond, 503, "overloaded")
    assert int(beyond.headers["Retry-After"]) >= 1
    assert looked.status == 200
    assert first.name == "snapshot"


@pytest.mark.settings(StreamLimits(filters_max=1), stream_interval_ms=10)
async def test_filters_beyond_the_limit_get_all_subjects_and_known_ones_what_they_ask_for(
    running: Running,
) -> None:
    api = running.client

    async with opened(api, "?subjects=qms"):
        async with opened(api, "?subjects=ems") as beyond:
            all_subjects = await beyond.next()
            async with opened(api) as unfiltered:
                without = await unfiltered.next()
        async with opened(api, "?subjects=qms") as known:
            filtered = await known.next()
    await eventually(lambda: has_open(running, 0))
    async with opened(api, "?subjects=ems") as later:
        alone = await later.next()

    assert all_subjects.left == without.left
    assert {subject for _, subject in all_subjects.left} > {"ems", "qms"}
    assert {subject for _, subject in filtered.left} == {"qms"}
    assert {subject for _, subject in alone.left} == {"ems"}


@pytest.mark.settings(stream_interval_ms=10, streams_of_address_max=2)
async def test_one_address_may_open_so_many_streams_and_others_still_theirs(
    running: Running,
) -> None:
    api = running.client

    async with opened(api), opened(api):
        beyond = await api.get(PATH, key=None)
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
        writer.write(request("GET", PATH))
        another = await reader.readuntil(b"event: snapshot")
        writer.close()
    await eventually(lambda: has_open(running, 0))
    async with opened(api) as later:
        assert (await later.next()).name == "snapshot"

    assert_refused(beyond, 503, "overloaded")
    assert another.startswith(b"HTTP/1.1 200")


async def test_a_client_that_resets_its_connection_frees_its_place(running: Running) -> None:
    _, writer = await connect(running.client.url)
    writer.write(request("GET", PATH))
    await eventually(lambda: has_open(running, 1))

    writer.transport.abort()

    await eventually(lambda: has_open(running, 0))


async def test_while_nobody_watches_any_more_redis_is_not_asked(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async def calls(command: str) -> int:
        stats = await redis_client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    async with opened(running.client) as stream:
        await stream.next()
        looks = await calls("evalsha")

        async def looks_go_on() -> bool:
            return await calls("evalsha") > looks

        await eventually(looks_go_on)
    await eventually(lambda: has_open(running, 0))
    seconds = await calls("time")

    async def seconds_have_passed(count: int) -> bool:
        return await calls("time") >= seconds + count

    # The health check reads the clock once a second, a hundred intervals of a stream.
    await eventually(lambda: seconds_have_passed(1))
    asked = await calls("evalsha")
    await eventually(lambda: seconds_have_passed(2))
    assert await calls("evalsha") == asked


@pytest.mark.settings(stream_interval_ms=10, stream_heartbeat_s=0.02)
async def test_watchers_are_told_when_the_seats_cannot_be_read_and_when_they_can_again(
    running: Running,
) -> None:
    api, service = running.client, running.service

    async with opened(api) as stream, opened(api, "?subjects=qms") as some:
        first = await stream.next()
        await some.next()
        await lose_everything(service)
        stale = await stream.next()
        stale_of_some = await some.next()
        await stream.heartbeat()
        refused = await api.get(PATH, key=None)
        asked_for_head = await api.call("HEAD", PATH, key=None)
        assert await recover_shards(service) == 1
        await service.stores.registry.refresh()
        again = await stream.next()
        again_of_some = await some.next()
        await api.reserve()
        changed = await stream.next()

    assert (stale.name, stale.id) == ("stale", None)
    assert stale.data == {name: first.data[name] for name in ("exam", "version", "revision")} | {
        "as_of": stale.data["as_of"]
    }
    assert stale.data["as_of"] >= first.data["as_of"]
    assert stale_of_some == stale
    assert_refused(refused, 503, "not-ready")
    assert asked_for_head.status == 503
    assert (again.name, again_of_some.name) == ("snapshot", "snapshot")
    assert again.left == first.left
    assert str(again.id).partition("-")[0] > str(first.id).partition("-")[0]
    assert {subject for _, subject in again_of_some.left} == {"qms"}
    assert (changed.name, changed.left) == ("change", {("jinan", "general"): 2})


async def test_an_event_of_another_epoch_is_answered_with_a_snapshot(running: Running) -> None:
    api, service = running.client, running.service
    async with opened(api) as stream:
        first = await stream.next()
    await lose_everything(service)
    assert await recover_shards(service) == 1
    await service.stores.registry.refresh()

    async with opened(api, last_event_id=first.id) as back:
        told = await back.next()

    assert told.name == "snapshot"
    assert told.left == first.left


@pytest.mark.settings(
    StreamLimits(buffer_max_bytes=4096), stream_interval_ms=10, shutdown_drain_s=DRAIN_S
)
async def test_a_shutdown_ends_streams_at_once_and_waits_for_no_reader(run: Serving) -> None:
    running = Running(run.service, run.addresses, run.client)
    path = await import_large_exam(running)

    async with opened(run.client) as reading, unread(run.client, path) as reader:
        await reading.next()
        await eventually(lambda: has_open(running, 2))
        run.stop.set()
        rest = await reading.rest()
        await asyncio.wait_for(run.ended, DRAIN_S / 3)
        cut_off = await received(reader, until=b"never told")

    assert rest == []
    assert b"venues_with_all" not in cut_off
    assert await has_open(running, 0)


@pytest.mark.settings(stream_interval_ms=10, shutdown_notice_s=NOTICE_S)
async def test_streams_are_served_until_the_port_closes(
    run: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run.client) as stream:
        first = await stream.next()
        with notice_given(monkeypatch):
            run.stop.set()
            await eventually(lambda: is_draining(run))
            await run.client.reserve()
            changed = await stream.next()
        rest = await stream.rest()

    assert (first.name, changed.name, rest) == ("snapshot", "change", [])
    await asyncio.wait_for(run.ended, LIMIT_S)


async def is_draining(run: Serving) -> bool:
    return (await run.client.get("/readyz", key=None)).status == 503
