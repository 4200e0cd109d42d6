"""Exams on a Redis Cluster: each on its primary, which fails and recovers by itself.

Over 400 lines because all faults of a primary are played on the same spread of exams.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from loadtest.bench.redis_cluster import ClusterNode, RedisCluster, redis_cluster, slot_of
from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, QuotaError, SeatsUnavailable
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.import_exam import import_exam
from quota_service.registration.report_load import report_load
from quota_service.registration.waiting_room import join
from quota_service.seats.fitness import refuse_unfit_servers, server_warnings
from quota_service.settings import Settings, SettingsError
from quota_service.workers.admission import AdmissionWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.support.admissions import CALM
from tests.support.bookings import book, check_agreement, now
from tests.support.command_line import CommandLine
from tests.support.exams import make_exam
from tests.support.lost_shards import recover_shards, ways
from tests.support.records import move_due
from tests.support.rooms import room_exam
from tests.support.servers import kill, paused
from tests.support.use_cases import hold
from tests.support.waiting import eventually


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A service whose exams lie one on each primary of a Cluster."""

    cluster: RedisCluster
    service: Service
    exams: list[str]

    async def look(self) -> None:
        """Read the map again, as a process does each second."""
        await self.service.stores.runners.check()

    async def answers(self, candidate: str) -> list[str]:
        """Reserve in each exam for a candidate; return what came of it."""
        return list(await asyncio.gather(*(self._answer(exam, candidate) for exam in self.exams)))

    async def _answer(self, exam: str, candidate: str) -> str:
        try:
            return (await hold(self.service, candidate, exam=exam)).state.value
        except QuotaError as refusal:
            return type(refusal).__name__


@asynccontextmanager
async def spread(settings: Settings, folder: Path, *, has_replicas: bool) -> AsyncIterator[Spread]:
    async with redis_cluster(folder, has_replicas=has_replicas) as cluster:
        changed = dataclasses.replace(settings, redis_url=cluster.url)
        async with open_service(changed) as service:
            await refresh_memory(service)
            await service.stores.runners.check()
            exams = cluster.exams(3)
            for exam in exams:
                await import_exam(service.stores.maintenance, make_exam(exam))
            yield Spread(cluster, service, exams)


@pytest.fixture
async def alone(settings: Settings, tmp_path: Path) -> AsyncIterator[Spread]:
    """Three primaries without replicas."""
    async with spread(settings, tmp_path / "cluster", has_replicas=False) as opened:
        yield opened


@pytest.fixture
async def paired(settings: Settings, tmp_path: Path) -> AsyncIterator[Spread]:
    """Three primaries with a replica each."""
    async with spread(settings, tmp_path / "cluster", has_replicas=True) as opened:
        yield opened


async def test_each_exam_lies_on_its_primary_and_is_served_and_worked_on_there(
    alone: Spread,
) -> None:
    booked = [await book(alone.service, "booked", exam=exam) for exam in alone.exams]

    owners = {await alone.cluster.owner(exam) for exam in alone.exams}
    for worker in (JournalDrainWorker, ExpiryWorker):
        await worker(alone.service.stores.maintenance, alone.service.settings).run_once()

    assert len(owners) == 3
    assert [(await now(alone.service, each)).state for each in booked] == [State.CONFIRMED] * 3
    for exam in alone.exams:
        await check_agreement(alone.service, 1, exam)


async def test_a_lost_primary_takes_its_own_exam_along_and_no_other(alone: Spread) -> None:
    exam, *others = alone.exams
    lost = await alone.cluster.node_of(exam)
    await alone.answers("first")
    kill(lost)
    await alone.look()

    answers = await alone.answers("second")
    worked = await recover_shards(alone.service)
    await alone.service.health.refresh()
    faults, warnings = dict(alone.service.health.faults), dict(alone.service.health.warnings)
    lost.start()
    await alone.cluster.settled()
    await alone.look()
    refused = await alone.answers("third")
    recovered = await recover_shards(alone.service)

    assert answers == ["SeatsUnavailable", "held", "held"]
    assert (worked, recovered) == (0, 1)
    assert ("redis" not in faults, f"redis:{lost.address}" in warnings) == (True, True)
    assert refused == ["NotReady", "held", "held"]
    assert await alone.answers("third") == ["held"] * 3
    assert [len(await ways(alone.service, each)) for each in others] == [0, 0]


async def test_a_primary_that_hangs_holds_up_no_expiry_of_the_others(alone: Spread) -> None:
    stores, exam = alone.service.stores, alone.exams[0]
    worker = ExpiryWorker(stores, alone.service.settings)
    await worker.run_once()
    held = [await hold(alone.service, "first", exam=each) for each in alone.exams]
    for reservation, each in zip(held, alone.exams, strict=True):
        node = await alone.cluster.node_of(each)
        async with redis.asyncio.Redis.from_url(node.admin_url, decode_responses=True) as client:
            await move_due(client, *stores.registry.locate(reservation.id))

    async def are_expired(reservations: Sequence[Reservation]) -> bool:
        try:
            await worker.run_once()
            states = [(await now(alone.service, each)).state for each in reservations]
        except SeatsUnavailable:
            return False  # a primary that comes back serves after a moment
        return set(states) == {State.EXPIRED}

    with paused(await alone.cluster.node_of(exam)):
        waiting = asyncio.create_task(hold(alone.service, "second", exam=exam))
        await eventually(lambda: are_expired(held[1:]))
        is_held_up = not waiting.done()
    await asyncio.gather(waiting, return_exceptions=True)

    assert is_held_up
    await eventually(lambda: are_expired(held))


async def test_a_primary_that_hangs_holds_up_no_waiting_room_of_the_others(
    alone: Spread,
) -> None:
    settings = dataclasses.replace(alone.service.settings, redis_command_timeout_s=20)
    for each in alone.exams:
        await import_exam(alone.service.stores.maintenance, room_exam(each))
    exam, *others = sorted(alone.exams)

    async with open_service(settings) as service:
        await refresh_memory(service)
        await service.stores.runners.check()
        stores = service.stores.waiting_room
        await stores.rooms.refresh()
        for each in others:
            await join(stores, each, "first")

        async def have_reports() -> bool:
            shards = map(service.stores.registry.shard, others)
            found = [await stores.room_statistics.read(shard) for shard in shards]
            return all(each.reports for each in found)

        with paused(await alone.cluster.node_of(exam)):
            shard = service.stores.registry.shard(exam)
            waiting = asyncio.create_task(service.stores.seats.totals(shard))
            work = asyncio.gather(
                report_load(stores, "one", CALM, patience_s=settings.redis_patience_s),
                AdmissionWorker(stores, settings).run_once(),
                stores.rooms.refresh(),
                return_exceptions=True,
            )
            await eventually(have_reports)
            report, admitted, _ = await work
            is_held_up = not waiting.done()
        counted = [stores.rooms.current(each).status.counts.last_number for each in others]
        await asyncio.gather(waiting, return_exceptions=True)

    assert is_held_up
    assert isinstance(report, SeatsUnavailable)
    assert not isinstance(admitted, BaseException)
    assert counted == [1, 1]


async def test_a_promoted_replica_is_found_fenced_and_recovered(paired: Spread) -> None:
    exam, *others = paired.exams
    booked = await book(paired.service, "booked", exam=exam)
    await paired.answers("first")
    kill(await paired.cluster.node_of(exam))

    async def answered() -> bool:
        await paired.look()
        return (await paired.answers("second"))[0] == "NotReady"

    await eventually(answered)
    recovered = await recover_shards(paired.service)

    assert recovered == 1
    assert await paired.answers("second") == ["held"] * 3
    assert (await now(paired.service, booked)).state is State.CONFIRMED
    assert [len(await ways(paired.service, each)) for each in others] == [0, 0]
    await JournalDrainWorker(paired.service.stores.maintenance, paired.service.settings).run_once()


async def test_a_primary_that_gave_its_place_away_is_not_shown_any_more(paired: Spread) -> None:
    former = await paired.cluster.node_of(paired.exams[0])
    before = _shown(paired)
    await (await paired.cluster.replica_of(former)).command("CLUSTER FAILOVER")

    async def is_left() -> bool:
        await paired.look()
        names = {runner.name for runner in paired.service.stores.runners.each()}
        return f"{former.address}: " not in names

    await eventually(is_left)

    assert former.address in before
    assert former.address not in _shown(paired)
    assert len(_shown(paired)) == 3


def _shown(spread: Spread) -> set[str]:
    """Return the addresses of primaries in the metrics."""
    (family,) = spread.service.metrics.stores_up.collect()
    return {
        store.removeprefix("redis:")
        for sample in family.samples
        if (store := sample.labels["store"]).startswith("redis:")
    }


async def test_a_primary_that_comes_back_is_not_written_to(paired: Spread) -> None:
    exam = paired.exams[0]
    former = await paired.cluster.node_of(exam)
    await paired.answers("first")
    with paused(former):

        async def is_replaced() -> bool:
            running = next(node for node in paired.cluster.nodes if node is not former)
            owner = await paired.cluster.owner(exam, asked=running)
            return owner not in {"", former.address}

        await eventually(is_replaced)
        await paired.look()
        assert await recover_shards(paired.service) == 1
    held = await paired.answers("second")
    await paired.look()

    assert held == ["held"] * 3
    assert await paired.answers("third") == ["held"] * 3
    role: list[str] = await former.command("ROLE")

    async def is_replica() -> bool:
        nonlocal role
        role = await former.command("ROLE")
        return role[0] == "slave"

    await eventually(is_replica)


async def test_a_slot_that_moves_is_one_recovery_of_its_exam(alone: Spread) -> None:
    exam, other, third = alone.exams
    booked = await book(alone.service, "booked", exam=exam)
    await alone.cluster.move(exam, await alone.cluster.node_of(other))

    refused = await alone.answers("first")
    recovered = await recover_shards(alone.service)

    assert refused == ["NotReady", "held", "held"]
    assert recovered == 1
    assert await alone.answers("first") == ["held"] * 3
    assert (await now(alone.service, booked)).state is State.CONFIRMED
    assert await ways(alone.service, exam) == ["reopened"]
    assert [len(await ways(alone.service, each)) for each in (other, third)] == [0, 0]


async def test_while_a_slot_is_on_the_move_its_exam_is_refused_and_nothing_is_lost(
    alone: Spread,
) -> None:
    exam, other, _ = alone.exams
    source, target = [await alone.cluster.node_of(each) for each in (exam, other)]
    held = await hold(alone.service, "first", exam=exam)
    slot = slot_of(exam)
    await target.command("CLUSTER SETSLOT", slot, "IMPORTING", await source.id())
    await source.command("CLUSTER SETSLOT", slot, "MIGRATING", await target.id())
    host, _, port = target.address.partition(":")
    keys = await source.command("CLUSTER GETKEYSINSLOT", slot, 1000)
    answers = [(await alone.answers("second"))[0]]
    for key in keys:
        await source.command("MIGRATE", host, port, "", 0, 5000, "KEYS", key)
        answers.append((await alone.answers("second"))[0])
    for node in (target, source, *alone.cluster.primaries):
        await node.command("CLUSTER SETSLOT", slot, "NODE", await target.id())
    await alone.look()

    assert set(answers) <= {"SeatsUnavailable", "NotReady"}
    assert await recover_shards(alone.service) == 1
    assert await alone.answers("second") == ["held"] * 3
    assert (await now(alone.service, held)).state is State.HELD
    await check_agreement(alone.service, 0, exam)


async def test_an_exam_whose_slot_no_primary_has_is_refused_and_told(alone: Spread) -> None:
    exam = alone.exams[0]
    owner, slot = await alone.cluster.node_of(exam), slot_of(exam)
    await alone.answers("first")
    for node in alone.cluster.nodes:
        await node.command("CLUSTER DELSLOTS", slot)

    during = await alone.answers("second")
    await alone.service.health.refresh()
    warnings = dict(alone.service.health.warnings)
    await owner.command("CLUSTER ADDSLOTS", slot)
    await alone.cluster.settled()
    await alone.service.health.refresh()

    assert during[0] in {"SeatsUnavailable", "NotReady"}
    assert during[1:] == ["held", "held"]
    assert warnings["redis:slots"].startswith("1 slots")
    assert "redis:slots" not in alone.service.health.warnings


async def test_without_any_node_everything_is_unavailable(alone: Spread) -> None:
    for node in alone.cluster.nodes:
        kill(node)

    assert await alone.answers("first") == ["SeatsUnavailable"] * 3
    with pytest.raises(SeatsUnavailable):
        await alone.look()
    with pytest.raises((SeatsUnavailable, NotReady)):
        await recover_shards(alone.service)


async def test_a_node_that_is_given_as_one_server_is_refused(alone: Spread) -> None:
    node = alone.cluster.primaries[0]
    settings = dataclasses.replace(alone.service.settings, redis_url=node.url)

    async with open_service(settings) as service:
        with pytest.raises(SettingsError, match=r"node of a Cluster, whose URL is redis\+cluster"):
            await refuse_unfit_servers(service.stores.runners)


async def test_one_server_that_is_given_as_a_cluster_is_refused(settings: Settings) -> None:
    _, _, address = settings.redis_url.removesuffix("/0").partition("://")
    changed = dataclasses.replace(settings, redis_url=f"redis+cluster://{address}")

    async with open_service(changed) as service:
        with pytest.raises(SettingsError, match="is no node of a Cluster"):
            await refuse_unfit_servers(service.stores.runners)


async def test_settings_of_each_primary_are_looked_at(alone: Spread) -> None:
    one, two, _ = alone.cluster.primaries
    await one.command("CONFIG SET", "cluster-require-full-coverage", "yes")
    before = await server_warnings(alone.service.stores.runners)
    await two.command("CONFIG SET", "appendonly", "no")

    assert [text.partition(" is ")[0] for text in before] == [
        f"{one.address}: cluster-require-full-coverage"
    ]
    with pytest.raises(SettingsError, match=f"^QUOTA_REDIS_URL: {two.address}: appendonly is 'no'"):
        await refuse_unfit_servers(alone.service.stores.runners)


async def test_a_primary_that_does_not_let_us_in_is_named(alone: Spread) -> None:
    _, two, _ = alone.cluster.primaries
    await two.command("ACL", "SETUSER", "default", "resetpass", ">another")

    async with open_service(alone.service.settings) as service:
        with pytest.raises(SettingsError, match=f"^QUOTA_REDIS_URL: {two.address}: .*"):
            await refuse_unfit_servers(service.stores.runners)


async def test_a_command_finds_the_primaries_by_itself(
    alone: Spread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = CommandLine(alone.service.settings, monkeypatch, capsys)
    for exam in alone.exams:
        await book(alone.service, "booked", exam=exam)

    audited = [await command_line("audit", exam) for exam in alone.exams]

    assert [done.status for done in audited] == [0, 0, 0]


async def test_a_cluster_that_was_made_anew_is_found_though_its_epoch_is_lower(
    alone: Spread,
) -> None:
    one, *others = alone.cluster.primaries
    for _ in range(5):
        await one.command("CLUSTER BUMPEPOCH")
    await alone.look()
    for node in alone.cluster.nodes:
        await node.command("FLUSHALL")
        await node.command("CLUSTER RESET", "HARD")
    await one.command("CLUSTER ADDSLOTSRANGE", 0, REDIS_CLUSTER_HASH_SLOTS - 1)
    for node in others:
        await one.command(*node.meeting)
    await eventually(partial(_has_met, one, 3))
    await eventually(partial(_found, alone))
    told = alone.service.metrics.registry.get_sample_value
    up = [told("quota_store_up", {"store": f"redis:{node.address}"}) for node in (one, *others)]

    assert up == [1, None, None]
    assert {await alone.cluster.owner(exam, asked=one) for exam in alone.exams} == {one.address}
    assert await recover_shards(alone.service) == 3
    assert await alone.answers("after") == ["held"] * 3


async def _has_met(node: ClusterNode, nodes: int) -> bool:
    info = await node.command("CLUSTER INFO")
    return (info["cluster_known_nodes"], info["cluster_state"]) == (str(nodes), "ok")


async def _found(spread: Spread) -> bool:
    await spread.look()
    return len(spread.service.stores.runners.each()) == 1
