"""Several worker processes on one port: their deaths, their end, and the metrics of all of them."""

import asyncio
import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from quota_service import cli
from quota_service.app import Service
from quota_service.ledger.api_keys import Scope
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.exams import SEATS, make_exam
from tests.support.raw_http import connect
from tests.support.sockets import client_ports
from tests.support.steady_frontend import SteadyConnection
from tests.support.supervised import Samples, Supervised, started, supervised
from tests.support.waiting import eventually

REPLACED_WITHIN_S = 30.0
MANY_SEATS = {**SEATS, "jinan": {**SEATS["jinan"], "general": 100_000}}
RESERVING = {"method": "POST", "route": "/v1/exams/{exam}/reservations", "status": "201"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A supervisor with two workers, and a client of their port."""

    run: Supervised
    api: ApiClient

    async def is_complete(self) -> bool:
        """Whether both workers serve."""
        status, body = await self.run.get("/readyz")
        return status == 200 and '"ready":2' in body.replace(" ", "")


@asynccontextmanager
async def a_pair(settings: Settings, service: Service) -> AsyncIterator[Pair]:
    await import_exam(service.stores, make_exam(seats=MANY_SEATS))
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        supervised(settings, "--workers", "2") as run,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Pair(run, ApiClient(session, run.api, frontend, ops))


@pytest.fixture
async def pair(settings: Settings, service: Service) -> AsyncIterator[Pair]:
    async with a_pair(settings, service) as made:
        yield made


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def totals(samples: Samples) -> Samples:
    """What may never go down: counters, and the counts and buckets of histograms.

    The time of a process is its own, and begins anew with its successor.
    """
    endings = ("_total", "_count", "_bucket", "_sum")
    return {
        key: number
        for key, number in samples.items()
        if key[0].startswith("quota_") and key[0].endswith(endings)
    }


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def refuses_connections(url: str) -> bool:
    try:
        _, writer = await connect(url)
    except ConnectionError:
        return True
    writer.close()
    return False


async def all_answered(connections: Sequence[SteadyConnection], *, more: int) -> None:
    """Wait until each connection that is not broken has had so many more answers."""
    wanted = {each: each.answered + more for each in connections}

    async def are_answered() -> bool:
        return all(each.is_broken or each.answered >= n for each, n in wanted.items())

    await eventually(are_answered, within_s=REPLACED_WITHIN_S)


@asynccontextmanager
async def writes_held(client: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Keep every reservation waiting in Redis until the block ends."""
    await client.client_pause(60_000, all=False)
    try:
        yield
    finally:
        await client.client_unpause()


async def are_blocked(client: "redis.asyncio.Redis", count: int) -> bool:
    """Whether commands of so many connections wait in Redis."""
    return int((await client.info("clients"))["blocked_clients"]) >= count


async def test_connections_are_dealt_evenly_and_metrics_are_the_sum_of_both_workers(
    pair: Pair,
) -> None:
    connections = [SteadyConnection(pair.api) for _ in range(10)]
    await all_answered(connections, more=3)
    ports = {each.port for each in connections}
    shares = [len(ports & client_ports(pid)) for pid in pair.run.pids().values()]
    for each in connections:
        await each.stop()
    answered = sum(each.answered for each in connections)

    samples = await pair.run.scrape()

    assert shares == [5, 5]
    histogram = "quota_http_request_duration_seconds"
    assert value(samples, f"{histogram}_count", **RESERVING) == answered
    assert value(samples, f"{histogram}_bucket", **RESERVING, le="+Inf") == answered
    assert value(samples, "quota_reservations_total", exam="exam-1", outcome="held") == answered
    assert value(samples, "quota_journal_lag_oldest_seconds", exam="exam-1") > 0
    assert not any(name.startswith("quota_seats") for name, _ in samples)
    assert value(samples, "quota_store_up", store="redis") == 1
    assert value(samples, "quota_workers_ready") == 2
    assert len([name for name, _ in samples if name == "quota_build_info"]) == 1
    processes = {dict(labels)["worker"] for name, labels in samples if name.startswith("process_")}
    assert processes == {"supervisor", "1", "2"}


async def test_a_worker_killed_under_load_is_replaced_and_costs_the_other_no_request(
    pair: Pair, evidence: Evidence
) -> None:
    connections = [SteadyConnection(pair.api) for _ in range(8)]
    await all_answered(connections, more=5)
    before, pids = await pair.run.scrape(), pair.run.pids()
    doomed = client_ports(pids["1"])

    os.kill(pids["1"], signal.SIGKILL)
    late = [SteadyConnection(pair.api) for _ in range(4)]
    await all_answered([*connections, *late], more=5)
    during = await pair.run.scrape()
    await eventually(pair.is_complete, within_s=REPLACED_WITHIN_S)
    for each in (*connections, *late):
        await each.stop()
    after, pids_after = await pair.run.scrape(), pair.run.pids()

    broken = [each for each in connections if each.is_broken]
    assert {each.port for each in broken} == doomed & {each.port for each in connections}
    assert len(broken) == 4
    assert not any(each.is_broken for each in late)
    assert pids_after["2"] == pids["2"]
    assert pids_after["1"] != pids["1"]
    answered = sum(each.answered for each in (*connections, *late))
    counted = value(after, "quota_http_request_duration_seconds_count", **RESERVING)
    assert answered <= counted <= answered + len(broken)
    for earlier, later in ((before, during), (during, after)):
        assert [k for k, n in totals(earlier).items() if later.get(k, 0) < n] == []
    assert value(after, "quota_workers_replaced_total", reason="killed") == 1
    await evidence.assert_books_balance()


async def test_a_connection_that_a_worker_died_before_taking_is_answered_by_another(
    pair: Pair,
) -> None:
    pids = pair.run.pids()
    os.kill(pids["1"], signal.SIGSTOP)
    connections = [SteadyConnection(pair.api) for _ in range(6)]

    async def half_are_answered() -> bool:
        return sum(each.answered > 0 for each in connections) >= 3

    await eventually(half_are_answered)
    waiting = [each for each in connections if not each.answered]
    os.kill(pids["1"], signal.SIGKILL)
    await all_answered(connections, more=1)
    for each in connections:
        await each.stop()

    assert len(waiting) == 3
    assert not any(each.is_broken for each in connections)


async def test_not_one_count_of_a_killed_worker_is_lost(pair: Pair) -> None:
    for i in range(20):
        await pair.api.reserve(f"candidate-{i}")
    before = await pair.run.scrape()

    for pid in pair.run.pids().values():
        os.kill(pid, signal.SIGKILL)

    async def are_replaced() -> bool:
        return len(pair.run.said("worker ended and is replaced")) == 2

    await eventually(are_replaced)
    after = await pair.run.scrape()

    assert value(before, "quota_reservations_total", exam="exam-1", outcome="held") == 20
    for name in ("quota_reservations_total", "quota_http_request_duration_seconds"):
        counted = {k: n for k, n in totals(before).items() if k[0].startswith(name)}
        assert counted
        assert {k: after.get(k) for k in counted} == counted


async def test_a_shutdown_lets_every_worker_finish_also_when_it_is_asked_for_twice(
    pair: Pair, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    pids = pair.run.pids()

    async def is_draining() -> bool:
        return (await pair.run.get("/readyz"))[0] == 503

    async with writes_held(redis_client):
        reserving = [asyncio.create_task(pair.api.reserve(f"candidate-{i}")) for i in range(6)]
        await eventually(lambda: are_blocked(redis_client, 2))
        pair.run.process.send_signal(signal.SIGTERM)
        await eventually(is_draining)
        await eventually(lambda: refuses_connections(pair.run.api))
        pair.run.process.send_signal(signal.SIGINT)
        assert not any(task.done() for task in reserving)
    replies = await asyncio.gather(*reserving)
    status = await pair.run.end()

    assert [reply.status for reply in replies] == [201] * 6
    assert status == 0
    assert len(await evidence.reservations()) == 6
    assert not any(runs(pid) for pid in pids.values())
    assert await refuses_connections(pair.run.admin)
    assert pair.run.said("worker ended and is replaced") == []
    await evidence.assert_books_balance()


@pytest.mark.settings(shutdown_notice_s=2.0)
async def test_a_balancer_hears_of_the_shutdown_from_every_worker_and_is_served_till_then(
    pair: Pair,
) -> None:
    async def says_so() -> bool:
        return (await pair.run.get("/readyz", admin=False))[0] == 503

    pair.run.process.send_signal(signal.SIGTERM)
    await eventually(says_so)
    told = [(await pair.run.get("/readyz", admin=False))[0] for _ in range(4)]
    served = await pair.api.reserve("candidate-1")

    assert told == [503] * 4
    assert served.status == 201
    assert await pair.run.end() == 0


async def test_workers_of_a_killed_supervisor_finish_what_is_under_way_and_end(
    pair: Pair, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    pids = pair.run.pids().values()

    async def have_ended() -> bool:
        return not any(runs(pid) for pid in pids)

    async with writes_held(redis_client):
        reserving = asyncio.create_task(pair.api.reserve("candidate-1"))
        await eventually(lambda: are_blocked(redis_client, 1))
        pair.run.process.kill()
        await eventually(lambda: refuses_connections(pair.run.api))
    reply = await reserving
    await eventually(have_ended)

    assert reply.status == 201
    assert len(pair.run.said("the supervisor is gone")) == 2
    await evidence.assert_books_balance()


async def test_a_worker_that_somebody_asks_to_end_finishes_and_is_replaced(pair: Pair) -> None:
    connections = [SteadyConnection(pair.api) for _ in range(4)]
    await all_answered(connections, more=3)
    pids = pair.run.pids()

    os.kill(pids["2"], signal.SIGTERM)

    async def is_replaced() -> bool:
        return pair.run.pids().get("2", pids["2"]) != pids["2"]

    await eventually(is_replaced, within_s=REPLACED_WITHIN_S)
    await eventually(pair.is_complete, within_s=REPLACED_WITHIN_S)
    fresh = [await pair.api.reserve(f"candidate-{i}") for i in range(4)]
    samples = await pair.run.scrape()
    for each in connections:
        await each.stop()

    assert [reply.status for reply in fresh] == [201] * 4
    answered = 4 + sum(each.answered for each in connections)
    counted = value(samples, "quota_http_request_duration_seconds_count", **RESERVING)
    assert counted <= answered
    assert value(samples, "quota_workers_replaced_total", reason="asked") == 1


@pytest.mark.settings(worker_silence_max_s=5.0)
async def test_a_worker_that_hangs_is_killed_and_replaced(pair: Pair) -> None:
    pids = pair.run.pids()

    os.kill(pids["1"], signal.SIGSTOP)

    async def is_killed() -> bool:
        return bool(pair.run.said("worker says nothing and is killed", silent=1))

    await eventually(is_killed, within_s=REPLACED_WITHIN_S)
    await eventually(pair.is_complete, within_s=REPLACED_WITHIN_S)

    assert pair.run.pids()["2"] == pids["2"]


@pytest.mark.settings(worker_settled_s=3600.0, worker_restarts_max=1)
async def test_a_worker_that_dies_again_and_again_ends_the_service_with_an_error(
    pair: Pair,
) -> None:
    first = pair.run.pids()["1"]
    os.kill(first, signal.SIGKILL)

    async def is_back() -> bool:
        return pair.run.pids().get("1", first) != first

    await eventually(is_back, within_s=REPLACED_WITHIN_S)
    pids = pair.run.pids()
    os.kill(pids["1"], signal.SIGKILL)
    status = await asyncio.wait_for(pair.run.process.wait(), REPLACED_WITHIN_S)

    assert status == 1
    assert not any(runs(pid) for pid in pids.values())
    await pair.run.followed()
    assert "worker 1 ended 2 times in a row soon after its start" in pair.run.tail


async def test_a_port_that_is_taken_ends_the_supervisor_before_it_starts_workers(
    settings: Settings,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started(dataclasses.replace(settings, port=port), "--workers", "2") as run:
            status = await asyncio.wait_for(run.process.wait(), REPLACED_WITHIN_S)
            await run.followed()

    assert status == 1
    assert "in use; choose another address with QUOTA_PORT" in run.tail
    assert not any("worker" in line for line in run.lines)


@pytest.mark.parametrize("count", ["0", "-1", "65", "two", "1.5", ""])
def test_a_number_of_workers_that_cannot_be_is_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--workers", count])

    assert ended.value.code == 2
    assert "from 1 to 64" in capsys.readouterr().err


async def test_one_worker_is_the_one_process_it_always_was(settings: Settings) -> None:
    async with supervised(settings, "--workers", "1") as run:
        pids = run.pids()
        samples = await run.scrape()
        status = await run.end()

    assert pids == {}
    assert ("process_resident_memory_bytes", frozenset()) in samples
    assert status == 0
