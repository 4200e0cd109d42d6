"""A store goes away while candidates are admitted: nobody's place moves, nobody's grace goes by.

The servers of this module are its own, because they are killed.
"""

from collections.abc import Iterator

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory, telling_load
from quota_service.domain.errors import LedgerUnavailable, SeatsUnavailable, Unavailable
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.migrations import migrate
from quota_service.registration.admit import AdmissionLimits
from quota_service.registration.import_exam import import_exam
from quota_service.registration.room_admin import pause, resume
from quota_service.settings import Settings
from tests.support.admissions import RoomUnderTest, open_room
from tests.support.exams import make_exam
from tests.support.lost_shards import recover_shards
from tests.support.servers import killed
from tests.support.waiting import eventually

_TEMPLATE = "postgres"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("mortal-redis")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("mortal-postgres")) as server:
        yield server


@pytest.fixture(scope="module")
async def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    async with open_service(Settings(postgres_dsn=postgres_server.url)) as service:
        await migrate(service.stores.ledger)
    return _TEMPLATE


async def goes_on(room: RoomUnderTest) -> None:
    """Return when the stores answer the leader again."""

    async def steps() -> bool:
        try:
            await recover_shards(room.service)
            await room.leader.admit(room.exam)
        except Unavailable:
            return False
        return True

    await eventually(steps)


async def check_outage(
    room: RoomUnderTest, server: EmbeddedRedis | EmbeddedPostgres, fault: type[Unavailable]
) -> None:
    """Let a server be away for an hour, and fail if that costs or brings anybody anything."""
    await room.queue(10_000)
    await room.service.stores.waiting_room.admission.set_rate(room.exam.id, 10)
    for _ in range(3):
        await room.second()
    before, kept = await room.room(), await room.steps()

    with killed(server), pytest.raises(fault):
        await room.leader.admit(room.exam)
    await goes_on(room)
    await room.pass_time(3600)
    await room.second()

    after, steps = await room.room(), await room.steps()
    # Two steps were taken since, and each made up for a second at most.
    assert before.serving < after.serving <= before.serving + 20
    assert after.late_through == before.late_through == 0
    assert steps[-1][1] - kept[-1][1] <= 2000


async def test_a_redis_that_dies_and_comes_back_moves_nobody(
    settings: Settings, redis_server: EmbeddedRedis
) -> None:
    async with open_service(settings) as service:
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, make_exam())

        await check_outage(
            await open_room(service, claim_grace_s=10), redis_server, SeatsUnavailable
        )


async def test_a_postgres_that_dies_and_comes_back_moves_nobody(
    settings: Settings, postgres_server: EmbeddedPostgres
) -> None:
    async with open_service(settings) as service:
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, make_exam())

        await check_outage(
            await open_room(service, claim_grace_s=10), postgres_server, LedgerUnavailable
        )


async def test_a_room_can_be_paused_while_redis_is_away(
    settings: Settings, redis_server: EmbeddedRedis
) -> None:
    async with open_service(settings) as service:
        await refresh_memory(service)
        room = await open_room(service)
        await room.queue(100)
        await room.second()

        with killed(redis_server):
            paused = await pause(service.stores.waiting_room, room.exam.id)
        await goes_on(room)
        during = await room.second()
        resumed = await resume(service.stores.waiting_room, room.exam.id)
        after = await room.second()

    assert (paused.room.is_paused, paused.document.is_paused) == (True, True)
    assert paused.statistics is None
    assert (during, after) == (0, 10)
    assert resumed.statistics is not None
    assert [report.process for report in resumed.statistics.reports] == ["process-1"]


async def test_a_process_that_cannot_read_the_rooms_reports_no_load(
    settings: Settings, postgres_server: EmbeddedPostgres
) -> None:
    """Its candidates do not see their turns, and its calm must not let more of them in."""
    async with open_service(settings) as service:
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, make_exam())
        room = await open_room(service)
        cache, tell = service.stores.waiting_room.rooms, telling_load(service)

        async def reports() -> int:
            return len((await service.stores.waiting_room.room_statistics.read(room.shard)).reports)

        async def can_read() -> bool:
            try:
                await cache.refresh()
            except Unavailable:
                return False
            return True

        await cache.refresh()
        cache.read_at_s -= AdmissionLimits().hold_after_s
        with killed(postgres_server):
            assert not await can_read()
            await tell()
            meanwhile = await reports()
        await eventually(can_read)
        await tell()

        assert (meanwhile, await reports()) == (0, 1)
