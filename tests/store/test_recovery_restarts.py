"""Redis comes back as it was, older than it was, or as another server: fenced at the first call.

The Redis of this module is its own, because it is killed.
"""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, SoldOut
from quota_service.domain.reservation import State
from quota_service.embedded import EmbeddedRedis
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.release import release
from quota_service.settings import Settings
from tests.support.bookings import book
from tests.support.exams import make_exam
from tests.support.lost_shards import check_after, drain, first_answer, recover_shards, rows, ways
from tests.support.mortal_redis import (
    client_of,
    copy_log,
    cut_off,
    follow,
    promote,
    restart,
    restart_from,
)
from tests.support.redis_clients import redis_of
from tests.support.servers import kill
from tests.support.use_cases import hold, state


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restarted-redis")


@pytest.fixture(scope="module")
def redis_server(data_dir: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(data_dir) as server:
        yield server


async def everything_in(server: EmbeddedRedis) -> dict[str, bytes]:
    """Return every key of a server but those that say who may act, as Redis would dump it."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        keys = sorted([key async for key in client.scan_iter(count=1000)])
        kept = [key for key in keys if not key.endswith((b":epoch", b":origin", b":journal"))]
        return {key.decode(): await client.dump(key) for key in kept}


@pytest.fixture
async def other(settings: Settings, service: Service) -> AsyncIterator[Service]:
    """Another process on the same stores, which knows what the first knows."""
    assert service.stores.registry.is_loaded
    async with open_service(settings) as opened:
        await refresh_memory(opened)
        yield opened


async def test_a_restart_on_its_own_disk_has_lost_nothing_and_is_opened_as_it_stands(
    service: Service, redis_server: EmbeddedRedis
) -> None:
    booked = await book(service, "booked")
    await drain(service)
    held = await hold(service, "held")
    before = await everything_in(redis_server)

    restart(redis_server)
    answers = [await first_answer(lambda: hold(service, "new")) for _ in range(3)]
    rebuilt = [await recover_shards(service) for _ in range(2)]

    assert [type(answer) for answer in answers] == [NotReady] * 3
    assert rebuilt == [1, 0]
    assert await ways(service) == ["reopened"]
    assert await everything_in(redis_server) == before
    assert (await state(service, booked), await state(service, held)) == (
        State.CONFIRMED,
        State.HELD,
    )
    await hold(service, "new")
    await check_after(service, booked=1)


async def test_a_process_that_did_not_see_the_restart_is_fenced_by_the_one_that_did(
    service: Service, other: Service, redis_server: EmbeddedRedis
) -> None:
    await hold(service)

    restart(redis_server)
    first = await first_answer(lambda: hold(service, "candidate-2"))
    second = await first_answer(lambda: hold(other, "candidate-3"))
    await recover_shards(service)
    stale = await first_answer(lambda: hold(other, "candidate-4"))
    await other.stores.registry.refresh()

    assert [type(answer) for answer in (first, second, stale)] == [NotReady] * 3
    await hold(other, "candidate-4")
    await check_after(service, booked=0)


async def test_a_restart_is_noticed_by_the_worker_though_nobody_calls(
    service: Service, redis_server: EmbeddedRedis
) -> None:
    await hold(service)

    restart(redis_server)

    assert await first_answer(lambda: recover_shards(service)) == 1
    await check_after(service, booked=0)


async def test_forgotten_scripts_alone_fence_nothing(service: Service) -> None:
    before = service.stores.registry.shard("exam-1")
    held = await hold(service)

    for _ in range(2):
        await redis_of(service).script_flush()
        await hold(service, "candidate-2")
        assert await state(service, held) is State.HELD
        assert await recover_shards(service) == 0

    await service.stores.registry.refresh()
    assert service.stores.registry.shard("exam-1") == before
    await check_after(service, booked=0)


@pytest.mark.parametrize("drained", [True, False])
async def test_an_older_copy_of_the_log_never_sells_a_seat_twice(
    service: Service, redis_server: EmbeddedRedis, data_dir: Path, tmp_path: Path, *, drained: bool
) -> None:
    await book(service, "first")
    copy_log(redis_server, data_dir, tmp_path / "older")
    late = [await book(service, name) for name in ("second", "third")]
    if drained:
        await drain(service)

    restart_from(redis_server, data_dir, tmp_path / "older")
    fenced = [await first_answer(lambda: hold(service, "fourth")) for _ in range(2)]
    async with client_of(redis_server) as client:
        forgotten = await client.hget("{exam-1:0}:confirmed", "jinan/general")
    assert await recover_shards(service) == 1
    await service.stores.registry.refresh()
    after = await first_answer(lambda: hold(service, "fourth"))

    assert forgotten == "1"  # it was older indeed, and had two seats to give
    assert [type(answer) for answer in fenced] == [NotReady] * 2
    assert type(after) is SoldOut
    assert [await state(service, each) for each in late] == [State.CONFIRMED] * 2
    await check_after(service, booked=3)


async def test_no_version_is_handed_out_twice_in_the_history_of_a_shard(
    service: Service, redis_server: EmbeddedRedis, data_dir: Path, tmp_path: Path
) -> None:
    await hold(service, "first")
    copy_log(redis_server, data_dir, tmp_path / "older")
    await hold(service, "second", "tianjin")
    before = service.stores.registry.shard("exam-1")
    version = (await service.stores.seats.snapshot(before)).version
    await drain(service)

    restart_from(redis_server, data_dir, tmp_path / "older")
    assert await first_answer(lambda: recover_shards(service)) == 1
    await service.stores.registry.refresh()
    again = service.stores.registry.shard("exam-1")
    for n in range(3):
        held = await hold(service, f"later-{n}", "tianjin")
        await release(service.stores, held.id)
    await check_after(service, booked=0)

    found = await rows(service, "SELECT epoch, version FROM journal ORDER BY version")
    assert [v for _, v in found] == list(range(1, version + 7))
    assert [e for e, v in found if v > version] == [again.epoch] * 6


@pytest.mark.parametrize("meanwhile", ["cut off", "stopped"])
async def test_a_promoted_replica_that_missed_writes_is_fenced_and_reconciled(
    settings: Settings, service: Service, tmp_path: Path, meanwhile: str
) -> None:
    with (
        EmbeddedRedis(tmp_path / "master") as master,
        EmbeddedRedis(tmp_path / "replica") as replica,
    ):
        pair = dataclasses.replace(settings, redis_url=master.url)
        async with open_service(pair) as failing:
            await refresh_memory(failing)
            assert await recover_shards(failing) == 1  # the exam is new to this Redis
            await book(failing, "first")
            await follow(replica, master)
            if meanwhile == "stopped":
                replica.stop()
            else:
                await cut_off(replica)
            late = [await book(failing, name) for name in ("second", "third")]
            drained = await hold(failing, "drained", "tianjin")
            await drain(failing)
            lost = await hold(failing, "lost", "tianjin")
            paid = await book(failing, "paid", "tianjin")

            kill(master)
            if meanwhile == "stopped":
                replica.start()
            await promote(replica, master)
            fenced = await first_answer(lambda: hold(failing, "fourth"))
            assert await recover_shards(failing) == 1
            await failing.stores.registry.refresh()
            after = await first_answer(lambda: hold(failing, "fourth"))

            assert (type(fenced), type(after)) == (NotReady, SoldOut)
            assert [await state(failing, each) for each in late] == [State.CONFIRMED] * 2
            assert await state(failing, drained) is State.HELD
            assert await state(failing, paid) is State.CONFIRMED
            assert await failing.stores.seats.read(*failing.stores.registry.locate(lost.id)) is None
            assert (await ways(failing))[-1] == "reconciled"
            await check_after(failing, booked=4)
    assert service.stores.registry.is_loaded


async def test_an_exam_imported_by_another_process_before_a_restart_is_recovered_as_well(
    service: Service, other: Service, redis_server: EmbeddedRedis, data_dir: Path, tmp_path: Path
) -> None:
    await import_exam(other.stores.maintenance, make_exam("exam-2"))
    copy_log(redis_server, data_dir, tmp_path / "older")
    await hold(other, "second", "beijing", "exam-2")
    shard = other.stores.registry.shard("exam-2")
    await drain_journal(other.stores.maintenance, shard, 1000, 3)

    restart_from(redis_server, data_dir, tmp_path / "older")
    # This process has not looked at the exams since, and is the first to speak to Redis.
    await first_answer(lambda: hold(service, "candidate-1"))
    at_once = await first_answer(lambda: hold(other, "third", "beijing", "exam-2"))
    await first_answer(lambda: recover_shards(other))
    await other.stores.registry.refresh()
    given_again = await first_answer(lambda: hold(other, "third", "beijing", "exam-2"))

    assert (type(at_once), type(given_again)) == (NotReady, SoldOut)


async def test_a_former_master_that_takes_over_again_with_our_scripts_is_recovered(
    settings: Settings, service: Service, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "one") as one, EmbeddedRedis(tmp_path / "two") as two:
        async with open_service(dataclasses.replace(settings, redis_url=one.url)) as first:
            await refresh_memory(first)
            await recover_shards(first)
            await hold(first, "known", "tianjin")
        await follow(two, one)
        async with client_of(two) as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")
        async with open_service(dataclasses.replace(settings, redis_url=two.url)) as second:
            await refresh_memory(second)
            await first_answer(lambda: recover_shards(second))
            await follow(one, two)
            await cut_off(one)
            lost = await hold(second, "lost", "beijing")
        async with client_of(one) as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")
        async with open_service(dataclasses.replace(settings, redis_url=one.url)) as back:
            await refresh_memory(back)
            rebuilt = await recover_shards(back)

    assert lost.venue == "beijing"
    assert rebuilt == 1
    assert (await ways(service))[-1] == "reopened"
    assert service.stores.registry.is_loaded
